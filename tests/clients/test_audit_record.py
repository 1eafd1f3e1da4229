"""Holds every record of the Rust tests' run against the schema that auditors get."""

import json

import pytest
from conftest import BINARY, ROOT
from jsonschema import Draft202012Validator

SCHEMA = json.loads((ROOT / "docs/audit-record.schema.json").read_text())
# Where `cargo test` leaves the trails of its gateways.
TRAILS = ROOT / "target/tmp/audit-records"

INTENT = {
    "eventVersion": "1.0",
    "eventID": "01a22721-819f-77f4-a908-6feb2d3ad784",
    "eventTime": "2026-11-29T11:47:17.023827888Z",
    "eventType": "Intent",
    "eventSource": "glacier.amazonaws.com",
    "eventName": "AbortMultipartUpload",
    "readOnly": False,
    "awsRegion": "eu-central-1",
    "recipientAccountId": "111122223333",
    "requestID": "r-1",
    "door": "rest",
    "sourceIPAddress": "192.0.2.1",
    "userIdentity": {"issuer": "corporate", "subject": "ann", "teams": ["media"]},
    "team": "media",
    "resource": "arn:aws:glacier:eu-central-1:111122223333:vaults/photos",
    "uploadId": "x",
    "decision": {"outcome": "allowed", "layer": "policies", "policy": "p", "statement": 0},
}


@pytest.fixture(scope="module")
def validator():
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator(SCHEMA)


def test_every_record_of_the_tests_is_as_the_schema_says(validator):
    built = BINARY and (ROOT / "target/debug/glacier-gateway").stat().st_mtime
    trails = [f for f in TRAILS.glob("*.jsonl") if f.stat().st_mtime > built]
    if not trails:
        pytest.skip("run `cargo test --test it` first")
    kinds = set()
    for trail in trails:
        # A test may have emptied its trail.
        for line in filter(None, trail.read_text().split("\n")):
            record = json.loads(line)
            errors = [error.message for error in validator.iter_errors(record)]
            assert not errors, f"{trail}: {record}"
            kinds.add(record["eventType"])
    assert {"Intent", "Outcome", "Event", "Counted", "LogStart", "System"} <= kinds


def test_the_schema_refuses_what_is_no_record(validator):
    assert validator.is_valid(INTENT)
    for change in [
        {"eventID": None},
        {"eventTime": "yesterday"},
        {"eventType": "Outcome"},
        {"token": "secret"},
        {"outcome": "aborted"},
        {"count": 1},
        {"decision": {"outcome": "implicitDeny"}},
        {"userIdentity": {"subject": "ann"}},
    ]:
        assert not validator.is_valid(INTENT | change), change
