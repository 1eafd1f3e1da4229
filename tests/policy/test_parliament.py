"""Our linter beside parliament, a public linter of IAM policies, on the same documents.

Whatever parliament reports of a document, ours reports too, by a code that says the same,
with the exceptions that are explained here.
"""

import json
import os
import pathlib
import subprocess

import parliament
import pytest

ROOT = pathlib.Path(__file__).parents[2]
GATEWAY = os.environ.get("GATEWAY_BIN", str(ROOT / "target/debug/glacier-gateway"))
CASES = json.loads((ROOT / "tests/policy/aws-cases.json").read_text())
PHOTOS = "arn:aws:glacier:us-east-1:123456789012:vaults/photos"
TEAM = "arn:aws:glacier-gateway:::team/photos"

# Our codes that say what parliament's issue says.
SAME = {
    "BAD_PATTERN_FOR_MFA": {"key-never-filled"},
    "DUPLICATE_SID": {"duplicate-sid"},
    "EXCEPTION": {"invalid-action"},
    "INVALID_ARN": {"invalid-resource", "incomplete-arn"},
    "INVALID_SID": {"invalid-sid"},
    "INVALID_VERSION": {"unknown-version"},
    "MALFORMED": {"missing-element", "unknown-element", "wrong-effect", "exclusive-elements"},
    "MALFORMED_JSON": {"invalid-json", "wrong-type", "duplicate-key"},
    "MISMATCHED_TYPE": {"type-mismatch", "wrong-value", "not-an-arn"},
    "MISMATCHED_TYPE_OPERATION_TO_NULL": {"wrong-value"},
    "NO_VERSION": {"no-version"},
    "OLD_VERSION": {"old-version"},
    "RESOURCE_MISMATCH": {
        "impossible-arn",
        "invalid-resource",
        "invalid-variable",
        "never-matches",
    },
    "UNKNOWN_ACTION": {"unknown-action"},
    "UNKNOWN_CONDITION_FOR_ACTION": {"unknown-key", "wrong-value", "key-never-filled"},
    "UNKNOWN_FEDERATION_SOURCE": {"foreign-principal"},
    "UNKNOWN_OPERATOR": {"unknown-operator"},
    "UNKNOWN_PREFIX": {"unknown-service", "invalid-action"},
    "UNKNOWN_PRINCIPAL": {
        "foreign-principal",
        "invalid-principal",
        "unknown-element",
        "wrong-type",
    },
}

# What parliament says and we do not, and why.
EXPLAINED = {
    "RESOURCE_STAR": "what a team may do in every vault is written like this, also in AWS",
    "RESOURCE_EFFECTIVELY_STAR": "the same, written as an ARN",
}
EXPLAINED_IN = {
    ("all actions on a vault", "RESOURCE_MISMATCH"): "of all actions, those of a vault are meant",
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
    "ListVaults and ListParts on a vault": policy(
        statement(Action=["glacier:ListVaults", "glacier:ListParts"])
    ),
    "all actions on a vault": policy(statement(Action="glacier:*")),
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
    "Null of no boolean": policy(statement(Condition={"Null": {"aws:username": "yes"}})),
    "an ARN as text": policy(statement(Condition={"StringEquals": {"aws:PrincipalArn": TEAM}})),
    "no ARN as text": policy(statement(Condition={"StringEquals": {"aws:PrincipalArn": "a"}})),
    "a key of MFA": policy(statement(Condition={"Bool": {"aws:MultiFactorAuthPresent": "false"}})),
    "no version": json.dumps({"Statement": [statement()]}),
    "everything": policy(statement(Action="*", Resource="*")),
    "one action on everything": policy(statement(Resource="*")),
    "one action on every vault": policy(statement(Resource="arn:*:glacier:*:*:vaults/*")),
}

VAULT_DOCUMENTS = {
    "everyone": policy(statement(Principal="*")),
    "text": policy(statement(Principal="team")),
    "no ARN": policy(statement(Principal={"AWS": "team"})),
    "another service's ARN": policy(statement(Principal={"AWS": "arn:aws:s3:::team"})),
    "no kind of principal": policy(statement(Principal={"Team": "photos"})),
    "a federation": policy(statement(Principal={"Federated": "example.com"})),
}


def ours(folder, document, tmp_path):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.json").write_text(document)
    command = [GATEWAY, "policy", "lint", str(tmp_path), "--format", "json"]
    lint = subprocess.run(command, capture_output=True, text=True)
    assert lint.returncode in (0, 1), lint.stderr
    return {diagnostic["code"] for diagnostic in json.loads(lint.stdout)}


@pytest.mark.parametrize(
    ("folder", "name", "document"),
    [("teams", *named) for named in DOCUMENTS.items()]
    + [("vaults", *named) for named in VAULT_DOCUMENTS.items()],
)
def test_what_parliament_finds_we_find(folder, name, document, tmp_path):
    theirs = {finding.issue for finding in parliament.analyze_policy_string(document).findings}
    codes = ours(folder, document, tmp_path)
    for issue in theirs - EXPLAINED.keys():
        if (name, issue) in EXPLAINED_IN:
            continue
        assert SAME[issue] & codes, f"parliament alone finds {issue}; ours: {codes}"


def test_every_issue_in_the_table_is_met():
    documents = [*DOCUMENTS.values(), *VAULT_DOCUMENTS.values()]
    met = {
        finding.issue
        for document in documents
        for finding in parliament.analyze_policy_string(document).findings
    }
    assert met == SAME.keys() | EXPLAINED.keys()
