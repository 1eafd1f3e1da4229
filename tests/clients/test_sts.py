"""The gateway asks STS as AWS's own model of STS has it, and the simulator's STS is
enough of one for boto3."""

import json
import re
import urllib.parse
import urllib.request

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from conftest import ACCOUNT, KEY_ID, REGION, SECRET

OTHER = "444455556666"
ROLE = f"arn:aws:iam::{OTHER}:role/glacier"

MODEL = botocore.session.get_session().get_service_model("sts")


@pytest.fixture
def simulator(start_simulator):
    return start_simulator("--role", f"{ROLE}#x-id")


def sts(simulator, key_id=KEY_ID, secret=SECRET, token=None):
    return boto3.client(
        "sts",
        endpoint_url=simulator.endpoint,
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )


def assume(client, **more):
    return client.assume_role(RoleArn=ROLE, RoleSessionName="media", **more)


def code(call):
    with pytest.raises(ClientError) as raised:
        call()
    return raised.value.response["Error"]["Code"]


def test_a_session_is_good_for_its_own_account_alone(simulator):
    reply = assume(
        sts(simulator),
        ExternalId="x-id",
        SourceIdentity="media",
        Tags=[{"Key": "team", "Value": "media"}],
    )
    assert reply["SourceIdentity"] == "media"
    assert reply["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/glacier/media"
    given = reply["Credentials"]
    session = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    glacier = simulator.client(*session)
    assert glacier.list_vaults(accountId=OTHER)["VaultList"] == []
    refused = code(lambda: glacier.list_vaults(accountId=ACCOUNT))
    assert refused == "AccessDeniedException"
    own = simulator.client()
    assert code(lambda: own.list_vaults(accountId=OTHER)) == "AccessDeniedException"
    wrong = simulator.client(*session[:2], "another-token")
    assert code(lambda: wrong.list_vaults(accountId=OTHER)) == "UnrecognizedClientException"
    # A source identity cannot be changed by whoever has one.
    again = sts(simulator, *session)
    denied = code(lambda: assume(again, ExternalId="x-id", SourceIdentity="other"))
    assert denied == "AccessDenied"
    long = {"ExternalId": "x-id", "SourceIdentity": "media", "DurationSeconds": 3601}
    assert code(lambda: assume(again, **long)) == "ValidationError"


def test_what_sts_would_refuse_is_refused(simulator):
    client = sts(simulator)
    assert code(lambda: assume(client)) == "AccessDenied"
    assert code(lambda: assume(client, ExternalId="y-id")) == "AccessDenied"
    assert code(lambda: assume(client, ExternalId="x-id", SourceIdentity="a b")) == "ValidationError"
    twice = [{"Key": "team", "Value": "a"}, {"Key": "Team", "Value": "b"}]
    assert code(lambda: assume(client, ExternalId="x-id", Tags=twice)) == "ValidationError"
    forged = sts(simulator, secret="x" * 40)
    assert code(lambda: assume(forged, ExternalId="x-id")) == "InvalidSignatureException"


def parsed(body):
    """A request's parameters as boto3 would have them."""
    given = dict(urllib.parse.parse_qsl(body, keep_blank_values=True, strict_parsing=True))
    assert given.pop("Action") == "AssumeRole"
    assert given.pop("Version") == MODEL.api_version
    parameters = {}
    for name, value in given.items():
        if match := re.fullmatch(r"Tags\.member\.(\d+)\.(Key|Value)", name):
            tags = parameters.setdefault("Tags", {})
            tags.setdefault(int(match[1]), {})[match[2]] = value
        else:
            parameters[name] = value
    if tags := parameters.pop("Tags", None):
        assert sorted(tags) == list(range(1, len(tags) + 1))
        parameters["Tags"] = [tags[number] for number in sorted(tags)]
    if "DurationSeconds" in parameters:
        parameters["DurationSeconds"] = int(parameters["DurationSeconds"])
    return parameters


def check(value, shape):
    """What botocore's validator leaves to the service: lengths and patterns."""
    for name, member in getattr(shape, "members", {}).items():
        if name in value:
            check(value[name], member)
    if shape.type_name == "list":
        for item in value:
            check(item, shape.member)
    if shape.type_name == "string":
        bounds = shape.metadata
        assert bounds.get("min", 0) <= len(value) <= bounds.get("max", 10**6), (shape, value)
        if pattern := bounds.get("pattern"):
            # Java's classes of letters, spaces and digits.
            for java, python in ((r"\p{L}", r"\w"), (r"\p{Z}", r"\s"), (r"\p{N}", r"\d")):
                pattern = pattern.replace(java, python)
            assert re.fullmatch(pattern, value), (pattern, value)


def test_the_gateways_requests_are_sts_own(gateway):
    for team in ("media", "auditors"):
        request = urllib.request.Request(
            f"{gateway.rest}/v1/accounts/{OTHER}/vaults",
            headers={"Authorization": f"Bearer {gateway.tokens[team]}"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == 200
    control = gateway.simulator["control"]
    with urllib.request.urlopen(f"{control}/requests", timeout=10) as reply:
        requests = json.load(reply)
    asked = [parsed(r["body"]) for r in requests if r["operation"] == "AssumeRole"]
    shape = MODEL.operation_model("AssumeRole").input_shape
    for parameters in asked:
        report = ParamValidator().validate(parameters, shape)
        assert not report.has_errors(), report.generate_report()
        check(parameters, shape)
    assert [(a["SourceIdentity"], a["Tags"]) for a in asked] == [
        (team, [{"Key": "team", "Value": team}]) for team in ("media", "auditors")
    ]
