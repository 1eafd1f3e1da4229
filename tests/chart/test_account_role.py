"""The role of an account: a CloudFormation template, and the same as Terraform text."""

import json
import re

import hcl2
import pytest
import yaml
from conftest import ROOT, TOOLS, run

TEMPLATE = ROOT / "deploy/account-role.yaml"
PAGE = ROOT / "docs/accounts.md"
GATEWAY = "arn:aws:iam::111122223333:role/glacier-gateway"
BOUNDARY = "arn:aws:iam::444455556666:policy/boundary"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` as {"Ref": "X"}."""


def short_form(loader, suffix, node):
    read = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: loader.construct_sequence,
        yaml.MappingNode: loader.construct_mapping,
    }
    deep = {} if isinstance(node, yaml.ScalarNode) else {"deep": True}
    return {suffix: read[type(node)](node, **deep)}


Loader.add_multi_constructor("!", short_form)

NOTHING = object()


def filled_in(value, parameters, conditions):
    """The template's value, as CloudFormation would compute it."""
    if isinstance(value, list):
        return [filled_in(item, parameters, conditions) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("Ref", "AWS::NoValue")]:
            return NOTHING
        case [("Ref", name)]:
            return parameters[name]
        case [("Sub", text)]:
            return re.sub(r"\$\{(.+?)\}", lambda name: parameters[name[1]], text)
        case [("If", [condition, yes, no])]:
            return filled_in(yes if conditions[condition] else no, parameters, conditions)
    pairs = {key: filled_in(item, parameters, conditions) for key, item in value.items()}
    return {key: item for key, item in pairs.items() if item is not NOTHING}


def role(**given):
    """The properties of the role that the template makes."""
    template = yaml.load(TEMPLATE.read_text(), Loader)
    declared = template["Parameters"]
    parameters = {name: p["Default"] for name, p in declared.items() if "Default" in p} | given
    for name, p in declared.items():
        if pattern := p.get("AllowedPattern"):
            assert re.fullmatch(pattern, parameters[name]), (name, parameters[name])
    parameters |= {"AWS::Partition": "aws", "AWS::AccountId": "444455556666"}
    conditions = {
        "RequiresSourceIdentity": parameters["RequireSourceIdentity"] == "true",
        "HasPermissionsBoundary": parameters["PermissionsBoundaryArn"] != "",
    }
    assert set(conditions) == set(template["Conditions"])
    return filled_in(template["Resources"]["Role"]["Properties"], parameters, conditions)


def least(**more):
    return role(GatewayRoleArn=GATEWAY, ExternalId="glacier-gateway-media", **more)


def test_cfn_lint_finds_nothing():
    run(TOOLS / "python", TOOLS / "cfn-lint", "--include-checks", "I", "--", TEMPLATE)


def test_the_gateway_alone_may_assume_the_role_with_the_external_id_and_a_name():
    assumes, names = least()["AssumeRolePolicyDocument"]["Statement"]
    for statement in (assumes, names):
        assert (statement["Effect"], statement["Principal"]) == ("Allow", {"AWS": GATEWAY})
    assert assumes["Action"] == "sts:AssumeRole"
    assert assumes["Condition"] == {
        "StringEquals": {"sts:ExternalId": "glacier-gateway-media"},
        "StringLike": {"sts:SourceIdentity": "?*"},
    }
    assert names["Action"] == ["sts:SetSourceIdentity", "sts:TagSession"]


def test_the_source_identity_and_the_boundary_are_the_operators_choice():
    made = least(RequireSourceIdentity="false", PermissionsBoundaryArn=BOUNDARY)
    assumes = made["AssumeRolePolicyDocument"]["Statement"][0]
    assert assumes["Condition"] == {"StringEquals": {"sts:ExternalId": "glacier-gateway-media"}}
    assert made["PermissionsBoundary"] == BOUNDARY
    assert "PermissionsBoundary" not in least()


def test_the_role_reaches_the_vaults_of_its_own_account_alone():
    [policy] = least(VaultNames="media-*")["Policies"]
    vaults, find = policy["PolicyDocument"]["Statement"]
    assert vaults["Resource"] == "arn:aws:glacier:*:444455556666:vaults/media-*"
    assert (find["Action"], find["Resource"]) == ("glacier:ListVaults", "*")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ExternalId": "x"},
        {"GatewayRoleArn": "arn:aws:iam::111122223333:user/gateway"},
        {"VaultNames": "a/b"},
        {"PermissionsBoundaryArn": "boundary"},
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(AssertionError):
        role(**{"GatewayRoleArn": GATEWAY, "ExternalId": "glacier-gateway-media"} | wrong)


def statements(document):
    """Terraform's statements in IAM's words, as the template has them."""
    for statement in document["statement"]:
        told = {"Sid": statement["sid"][0], "Effect": "Allow"}
        principals = statement.get("principals")
        if principals:
            told["Principal"] = {principals[0]["type"][0]: principals[0]["identifiers"][0][0]}
        actions = statement["actions"][0]
        told["Action"] = actions[0] if len(actions) == 1 else actions
        conditions = {}
        for condition in statement.get("condition", []):
            test = conditions.setdefault(condition["test"][0], {})
            test[condition["variable"][0]] = condition["values"][0][0]
        if conditions:
            told["Condition"] = conditions
        if "resources" in statement:
            told["Resource"] = statement["resources"][0][0]
        yield told


def test_the_terraform_text_makes_the_same_role():
    [text] = re.findall(r"```hcl\n(.*?)```", PAGE.read_text(), re.S)
    parsed = json.dumps(hcl2.loads(text))
    for reference, value in {
        "${var.gateway_role_arn}": GATEWAY,
        "${var.external_id}": "glacier-gateway-media",
        "${data.aws_partition.current.partition}": "aws",
        "${data.aws_caller_identity.current.account_id}": "444455556666",
    }.items():
        assert reference in parsed
        parsed = parsed.replace(reference, value)
    parsed = json.loads(parsed)
    documents = {
        name: document
        for data in parsed["data"]
        for name, document in data.get("aws_iam_policy_document", {}).items()
    }
    made = least()
    assert list(statements(documents["trust"])) == made["AssumeRolePolicyDocument"]["Statement"]
    [policy] = made["Policies"]
    assert list(statements(documents["glacier"])) == policy["PolicyDocument"]["Statement"]
    [resource] = [r["aws_iam_role"]["glacier_gateway"] for r in parsed["resource"] if "aws_iam_role" in r]
    assert resource["name"] == [made["RoleName"]]
    assert resource["max_session_duration"] == [made["MaxSessionDuration"]]
