"""Our linter beside parliament, a public linter of IAM policies, on the same documents.

Whatever parliament reports, ours reports too, with the exceptions that are explained
here. Run it with `pytest tests/policy` where `parliament` is installed; GATEWAY_BIN is
the gateway's binary.
"""

import json
import os
import pathlib
import subprocess

import pytest

parliament = pytest.importorskip("parliament")

GATEWAY = os.environ.get("GATEWAY_BIN", "target/debug/glacier-gateway")
CASES = json.loads((pathlib.Path(__file__).parent / "aws-cases.json").read_text())
PHOTOS = "arn:aws:glacier:us-east-1:123456789012:vaults/photos"

# What parliament says and we do not, and why.
EXPLAINED = {
    # Denying everything, and a condition on everything, are what guardrails do.
    "RESOURCE_STAR",
}


def statement(**changes):
    base = {"Effect": "Allow", "Action": "glacier:AbortMultipartUpload", "Resource": PHOTOS}
    base.update(changes)
    return {name: value for name, value in base.items() if value is not None}


def policy(*statements, **changes):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **changes})


DOCUMENTS = {case["id"]: case["document"] for case in CASES["lint"]} | {
    "not JSON": "{",
    "a list": "[]",
    "no statement": json.dumps({"Version": "2012-10-17"}),
    "unknown top element": policy(statement(), Comment="x"),
    "old version": json.dumps({"Version": "2008-10-17", "Statement": statement()}),
    "effect in lower case": policy(statement(Effect="allow")),
    "no effect": policy(statement(Effect=None)),
    "no action": policy(statement(Action=None)),
    "action and its opposite": policy(statement(NotAction="glacier:ListParts")),
    "resource and its opposite": policy(statement(NotResource="*")),
    "a misspelt action": policy(statement(Action="glacier:AbortMultipartUplaod")),
    "a wildcard for nothing": policy(statement(Action="glacier:Abrt*")),
    "an action without a service": policy(statement(Action="AbortMultipartUpload")),
    "ListVaults on a vault": policy(statement(Action="glacier:ListVaults")),
    "no vault": policy(statement(Resource="arn:aws:glacier:us-east-1:123456789012:photos")),
    "a short ARN": policy(statement(Resource="arn:aws:glacier:us-east-1")),
    "a Sid with a space": policy(statement(Sid="not this")),
    "a principal": policy(statement(Principal="*")),
    "condition is a list": policy(statement(Condition=[])),
    "unknown operator": policy(statement(Condition={"StringIs": {"aws:username": "a"}})),
    "unknown key": policy(statement(Condition={"StringEquals": {"glacier:Team": "a"}})),
    "bad date": policy(statement(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}})),
    "bad boolean": policy(statement(Condition={"Bool": {"aws:SecureTransport": "yes"}})),
    "date operator on a Bool": policy(
        statement(Condition={"DateLessThan": {"aws:SecureTransport": "2020-01-01"}})
    ),
    "everything": policy(statement(Action="*", Resource="*")),
    "one action on everything": policy(statement(Resource="*")),
}


def ours(document, tmp_path):
    team = tmp_path / "teams"
    team.mkdir(parents=True)
    (team / "a.json").write_text(document)
    command = [GATEWAY, "policy", "lint", str(tmp_path), "--format", "json"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {diagnostic["code"] for diagnostic in json.loads(output)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_parliament_finds_we_find(name, tmp_path):
    document = DOCUMENTS[name]
    theirs = {finding.issue for finding in parliament.analyze_policy_string(document).findings}
    if theirs - EXPLAINED:
        assert ours(document, tmp_path), f"parliament alone finds {theirs}"
