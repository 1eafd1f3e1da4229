"""What was made for the last version works with this one: clients, settings, policies.

`tests/last-version` keeps what the last version was; `tests/last-version/keep.py` makes it anew
when there is a new one (docs/releasing.md). tests/store/last_version.rs tests its databases."""

import copy
import json
import os
import shutil
import subprocess

import jsonschema
import pytest
import yaml
from breaking import breaking
from conftest import ROOT, tracked

PROGRAM = os.environ.get("GATEWAY_BIN", str(ROOT / "target/debug/glacier-gateway"))
LAST = ROOT / "tests/last-version"

#: What breaks clients of the last version on purpose, a sentence each as the test says it. While
#: there is any, the next version is one that may break them (docs/releasing.md).
ACCEPTED = {
    # No header can be null.
    "GET /v1/abort-jobs/{jobId}/events: header parameter Last-Event-ID: null is not taken any more",
    "POST /v1/abort-jobs: header parameter Idempotency-Key: null is not taken any more",
    "POST /v1/abort-jobs: header parameter Prefer: null is not taken any more",
    "reply Code: circuit-open is a new value",
    "reply Code: head-too-long is a new value",
    "reply Code: overloaded is a new value",
    "reply Code: rate-limited is a new value",
    "reply Code: too-many-in-flight is a new value",
    "reply Code: too-many-refused-credentials is a new value",
    "reply Code: url-too-long is a new value",
}


def test_clients_of_the_last_version_go_on_working():
    last, now = (
        yaml.safe_load(path.read_text())
        for path in (LAST / "openapi.yaml", ROOT / "openapi/glacier-gateway.yaml")
    )
    assert set(breaking(last, now)) == ACCEPTED, "mend it, or accept it here and mark it in CHANGELOG.md"


def run(*arguments):
    done = subprocess.run((PROGRAM, *arguments), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_settings_of_the_last_version_are_taken(tmp_path):
    shutil.copytree(LAST / "settings", tmp_path, dirs_exist_ok=True)
    make_files(tmp_path)
    for file in sorted(tmp_path.glob("*.toml")):
        file.write_text(file.read_text().replace("FOLDER", str(tmp_path)))
        status, said = run("check-config", "--config", str(file))
        assert status == 0, f"{file.name}: {said}"


def make_files(folder):
    """What the settings name."""
    (folder / "tls").mkdir()
    (folder / "accounts").mkdir()
    (folder / "lifecycle").mkdir()
    subject = ("-subj", "/CN=gateway", "-addext", "subjectAltName=DNS:gateway")
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", folder / "tls/tls.key")
    command = ("openssl", "req", "-x509", "-days", "30", *key, *subject, "-out", folder / "tls/tls.crt")
    subprocess.run(command, capture_output=True, check=True)
    for copy_ in ("tls/ca.crt", "issuer-ca.pem"):
        shutil.copy(folder / "tls/tls.crt", folder / copy_)
    (folder / "jwks.json").write_text('{"keys": []}')
    (folder / "revoked-tokens.json").write_text("{}")
    (folder / "revoked-keys.json").write_text("{}")
    (folder / "token").write_text("a token")
    for file in ("audit-key", "glacier-gateway-audit-key-1"):
        status, made = run("audit", "key", "create")
        assert status == 0, made
        (folder / file).write_text(made)
    (folder / "glacier-gateway-master-key-1").write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")


def test_values_of_the_last_versions_chart_are_taken():
    schema = json.loads((ROOT / "helm/glacier-gateway/values.schema.json").read_text())
    files = sorted((LAST / "values").glob("*.yaml"))
    assert files
    for file in files:
        jsonschema.validate(yaml.safe_load(file.read_text()), schema)


def test_policies_of_the_last_version_are_taken_and_decide_alike():
    folder = str(LAST / "settings/policies")
    status, said = run("policy", "lint", folder)
    assert status == 0, said
    for line in (LAST / "decisions.txt").read_text().splitlines():
        words, _, decision = line.rpartition(": ")
        status, said = run("policy", "simulate", folder, *words.split(), "--json")
        assert [case["decision"] for case in json.loads(said)] == [decision], words


# A small specification, and what may be done to it.
def problem_of(values):
    return {"type": "string", "enum": list(values)}


SMALL = {
    "security": [{"bearer": []}],
    "paths": {
        "/jobs/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {
                "operationId": "getJob",
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}},
                    {"name": "state", "in": "query", "schema": {"$ref": "#/components/schemas/State"}},
                ],
                "responses": {
                    "200": {
                        "headers": {"ETag": {}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}},
                    },
                    "404": {"description": "There is no such job."},
                },
            },
            "post": {
                "operationId": "changeJob",
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Change"}}}
                },
                "responses": {"204": {"description": "Done."}},
            },
        }
    },
    "components": {
        "schemas": {
            "State": problem_of(["running", "done"]),
            "Code": problem_of(["not-found"]) | {"description": "A later version may add codes."},
            "Job": {
                "type": "object",
                "required": ["state", "end"],
                "properties": {
                    "state": {"$ref": "#/components/schemas/State"},
                    "code": {"$ref": "#/components/schemas/Code"},
                    "end": {"type": "string", "format": "date-time"},
                    "items": {"type": "array", "items": {"type": "string"}},
                },
            },
            "Change": {
                "type": "object",
                "required": ["to"],
                "properties": {
                    "to": {"$ref": "#/components/schemas/State"},
                    "reason": {"type": ["string", "null"], "maxLength": 10},
                    "select": {"oneOf": [{"type": "object"}, {"type": "string"}]},
                },
            },
        }
    },
}


def at(document, path):
    """What is at a path such as `get/parameters/0`, below the one path or among the schemas."""
    names = path.split("/")
    place = document["components"]["schemas"]
    if names[0] in ("get", "post", "parameters"):
        place = document["paths"]["/jobs/{id}"]
    elif names[0] == "document":
        place, names = document, names[1:]
    for name in names:
        place = place[int(name) if isinstance(place, list) else name]
    return place


JOB, CHANGE = "Job/properties", "Change/properties"


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        ("document/paths", lambda p: p.clear(), "{id} is gone"),
        ("get", lambda o: o.update(operationId="job"), "operationId was getJob"),
        ("document", lambda d: d.update(security=[{"mtls": []}]), "callers by bearer are refused"),
        ("get/parameters", lambda p: p.pop(), "query parameter state is gone"),
        ("get/parameters/0", lambda p: p.update(required=True), "limit is required now"),
        ("get/parameters/0/schema", lambda s: s.update(maximum=50), "maximum is 50 now, and was 100"),
        ("get/parameters/0/schema", lambda s: s.update(minimum=1), "minimum is 1 now, and was not said"),
        ("get/parameters/0/schema", lambda s: s.update(type="string"), "integer is not taken any more"),
        (
            "get/parameters",
            lambda p: p.append({"name": "team", "in": "query", "required": True}),
            "team is new and required",
        ),
        ("parameters/0/schema", lambda s: s.update(pattern="^x$"), "pattern is ^x$ now"),
        ("get/responses", lambda r: r.pop("200"), "the reply 200 is gone"),
        ("get/responses/200/headers", lambda h: h.pop("ETag"), "the header ETag is gone"),
        ("get/responses/200/content", lambda c: c.clear(), "application/json does not come any more"),
        ("post/responses/204", lambda r: r.update(content={"text/plain": {}}), "there is a body now"),
        ("post", lambda o: o.pop("requestBody"), "no body is taken any more"),
        ("post/requestBody", lambda b: b.update(required=True), "a body is required now"),
        ("post/requestBody/content", lambda c: c.clear(), "body of application/json is not taken"),
        (JOB, lambda p: p.pop("items"), "reply Job.items is gone"),
        (f"{JOB}/items/items", lambda s: s.update(type="integer"), "items[]: can be integer now"),
        (f"{JOB}/end", lambda s: s.update(format="date"), "the format was date-time"),
        (f"{JOB}/end", lambda s: s.update(type=["string", "null"]), "end: can be null now"),
        ("Job/required", lambda r: r.remove("end"), "reply Job.end is not always there any more"),
        (CHANGE, lambda p: p.pop("reason"), "request Change.reason is gone"),
        (f"{CHANGE}/reason", lambda s: s.update(type="string"), "null is not taken any more"),
        (f"{CHANGE}/reason", lambda s: s.update(maxLength=5), "maxLength is 5 now, and was 10"),
        (f"{CHANGE}/select/oneOf", lambda c: c.pop(), "select: string is not taken any more"),
        ("Change/required", lambda r: r.append("reason"), "request Change.reason is required now"),
        ("Change", lambda s: s.update(additionalProperties=False), "not listed are refused now"),
        ("State/enum", lambda v: v.remove("done"), "done is not taken any more"),
        ("State/enum", lambda v: v.append("lost"), "reply State: lost is a new value"),
    ],
)  # fmt: skip
def test_a_change_that_breaks_clients_is_told(place, change, said):
    now = copy.deepcopy(SMALL)
    change(at(now, place))
    told = breaking(SMALL, now)
    assert told and all(said in sentence for sentence in told), told


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("document/paths", lambda p: p.update({"/more": {"get": {"responses": {}}}})),
        ("document", lambda d: d["security"].append({"mtls": []})),
        ("get/parameters", lambda p: p.append({"name": "team", "in": "query"})),
        ("get/parameters/0/schema", lambda s: s.update(maximum=200)),
        ("get/parameters/0/schema", lambda s: s.update(type="number")),
        ("get/responses", lambda r: r.update({"503": {"description": "Later."}})),
        ("get/responses", lambda r: r.pop("404")),
        ("Code/enum", lambda v: v.append("too-many")),
        (JOB, lambda p: p.update(more={"type": "string"})),
        (f"{JOB}/end", lambda s: s.update(maxLength=10)),
        ("Job/required", lambda r: r.append("items")),
        (CHANGE, lambda p: p.update(more={"type": "string"})),
        (f"{CHANGE}/reason", lambda s: s.pop("maxLength")),
        ("Change/required", lambda r: r.clear()),
    ],
)
def test_a_change_that_breaks_nobody_is_not_told(place, change):
    now = copy.deepcopy(SMALL)
    change(at(now, place))
    assert now != SMALL
    assert breaking(SMALL, now) == []


def test_the_last_version_is_one_that_the_changelog_tells_of():
    version = (LAST / "version").read_text().split()[0]
    assert f"## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((LAST / "openapi.yaml").read_text())["info"]["version"] == version


def test_a_migration_that_was_released_is_not_changed():
    kept = json.loads((LAST / "migrations.json").read_text())
    assert kept
    now = {str(path.relative_to(ROOT)): path.read_text() for path in tracked("src/store/migrations")}
    for name, text in kept.items():
        assert now.get(name) == text, f"{name}: write a new migration instead"
