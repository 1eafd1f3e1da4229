"""The queries of docs/accounts.md join the gateway's records with CloudTrail's events. The
records are real; the events are made up after AWS's documentation ("CloudTrail record
contents", "Logging IAM and AWS STS API calls"), of what the simulator was asked."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request

import duckdb
import pytest
import sqlglot

from conftest import ACCOUNT, BINARY, REGION, ROOT

OTHER = "444455556666"
TABLE, JOIN, MISSING = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/accounts.md").read_text(), re.S)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)


def event(source, name, account, key, **more):
    arn = f"arn:aws:sts::{account}:assumed-role/glacier-gateway/media"
    return {
        "eventtime": "2026-11-29T12:00:00Z",
        "eventsource": source,
        "eventname": name,
        "awsregion": REGION,
        "sourceipaddress": "192.0.2.1",
        "useridentity": {"type": "AssumedRole", "arn": arn, "accesskeyid": key},
        "recipientaccountid": account,
        "requestid": None,
        "requestparameters": None,
        "responseelements": None,
        **more,
    }


def exported(gateway):
    export = [BINARY, "audit", "export", "--config", gateway.config]
    return subprocess.run(export, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture
def database(gateway, tmp_path):
    """Both tables after three aborts by the media team, one of them in its own account."""
    [masters] = [v for v in gateway.vaults if v["accountId"] == OTHER]
    aborts = [(ACCOUNT, gateway.vaults[0]), (OTHER, masters), (OTHER, masters)]
    answers = []
    for account, vault in aborts:
        upload = vault["uploads"][0]["uploadId"]
        url = f"{gateway.rest}/v1/accounts/{account}/vaults/{vault['name']}/multipart-uploads/{upload}"
        token = {"Authorization": f"Bearer {gateway.tokens['media']}"}
        with urllib.request.urlopen(urllib.request.Request(url, None, token, method="DELETE")) as reply:
            answers.append((account, reply.headers["x-amzn-requestid"]))

    control = gateway.simulator["control"]
    [session] = get(f"{control}/sessions")
    key = session["accessKeyId"]
    [asked] = [r for r in get(f"{control}/requests") if r["operation"] == "AssumeRole"]
    asked = dict(urllib.parse.parse_qsl(asked["body"]))
    sts = {
        "requestparameters": json.dumps({
            "roleArn": asked["RoleArn"],
            "roleSessionName": asked["RoleSessionName"],
            "sourceIdentity": asked["SourceIdentity"],
            "tags": [{"key": "team", "value": asked["Tags.member.1.Value"]}],
        }),
        "responseelements": json.dumps({"credentials": {"accessKeyId": key}}),
    }  # fmt: skip
    glacier = "glacier.amazonaws.com"
    own = {"sharedeventid": "1"}
    events = [event("sts.amazonaws.com", "AssumeRole", a, "AKIA", **sts, **own) for a in (ACCOUNT, OTHER)]
    for account, request in answers:
        signed = key if account == OTHER else "AKIA"
        events.append(event(glacier, "AbortMultipartUpload", account, signed, requestid=request))
    # Somebody else took the role, past the gateway.
    events.append(event(glacier, "AbortMultipartUpload", OTHER, "ASIAX", requestid="past"))

    records = exported(gateway)
    deadline = time.monotonic() + 30
    # An outcome follows without the reply waiting for it.
    while sum('"Outcome"' in record for record in records) < len(aborts):
        assert time.monotonic() < deadline, records
        records = exported(gateway)
    for name, lines in [
        # As the SerDe of the table does, which does not look at the case of names.
        ("gateway_records", [lower(json.loads(record)) for record in records]),
        ("cloudtrail_logs", events),
    ]:
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    database = duckdb.connect()
    for name in ("gateway_records", "cloudtrail_logs"):
        file = tmp_path / f"{name}.jsonl"
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM read_json('{file}', sample_size=-1)")
    return database


def lower(value):
    if isinstance(value, dict):
        return {name.lower(): lower(item) for name, item in value.items()}
    return value


def rows(database, query):
    [query] = sqlglot.transpile(query, read="athena", write="duckdb")
    found = database.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


def test_a_record_is_joined_with_what_glacier_did_and_for_whom_the_session_was(database):
    found = rows(database, JOIN)
    assert [(row["team"], row["subject"], row["outcome"]) for row in found] == [
        ("media", "media-developer", "aborted")
    ] * 3
    own, *through_a_role = found
    assert own["session_began"] is None
    for row in through_a_role:
        assert row["performed"] and row["session_began"]
        assert row["source_identity"] == "media"
        assert json.loads(row["session_tags"]) == [{"key": "team", "value": "media"}]


def test_an_abort_past_the_gateway_is_found(database):
    [found] = rows(database, MISSING)
    assert (found["eventname"], found["recipientaccountid"]) == ("AbortMultipartUpload", OTHER)


def test_the_table_has_the_records_own_fields(database):
    table = sqlglot.parse_one(TABLE, read="athena")
    made = {row[0]: row[1] for row in database.execute("DESCRIBE gateway_records").fetchall()}
    for column in table.find_all(sqlglot.exp.ColumnDef):
        if column.parent is table.this:
            assert column.name in made, column.name
            for field in column.kind.find_all(sqlglot.exp.ColumnDef):
                assert field.name in made[column.name], (column.name, field.name)
