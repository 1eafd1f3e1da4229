"""The chart's alerts and dashboard, by a real Prometheus that reads a real gateway."""

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from conftest import ACCOUNT, BINARY, ROOT, Gateway, Serve

MONITORING = ROOT / "helm/glacier-gateway/monitoring"
RULES = MONITORING / "alerts.yaml"
CASES = ROOT / "tests/clients/alerts.test.yaml"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
PANELS = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    for target in panel.get("targets", [])
]
# Grafana's own variables, and the dashboard's, as a test of some seconds needs them.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1m", "$job": ".+"}


def promtool(*arguments):
    done = subprocess.run(("promtool", *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_fire_when_they_should_and_not_otherwise():
    promtool("check", "rules", RULES)
    promtool("test", "rules", CASES)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    fires, silent = set(), set()
    for test in yaml.safe_load(CASES.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            (fires if case["exp_alerts"] else silent).add(case["alertname"])
    assert fires == silent == set(ALERTS)


def test_the_runbook_has_a_paragraph_for_each_alert_and_each_alert_leads_there():
    page = (ROOT / "docs/runbook.md").read_text()
    assert re.findall(r"^### (GlacierGateway\w+)$", page, re.M) == list(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


class Prometheus:
    """Reads a gateway's metrics each second, with the chart's rules."""

    def __init__(self, gateway, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}/api/v1"
        targets = [{"targets": [gateway.management.removeprefix("http://")]}]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "gateway", "static_configs": targets}],
        }
        file = folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config))
        promtool("check", "config", file)
        options = (f"--config.file={file}", f"--storage.tsdb.path={folder}/data")
        with open(folder / "prometheus.log", "w") as log:
            command = ("prometheus", *options, f"--web.listen-address={address}")
            self.process = subprocess.Popen(command, stderr=log)

    def get(self, path, **parameters):
        url = f"{self.url}/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def query(self, expression):
        return self.get("query", query=expression)["result"]

    def until(self, condition):
        """What `condition` gives, as soon as it gives something."""
        deadline = time.monotonic() + 30
        while True:
            try:
                if found := condition():
                    return found
            except OSError as error:
                # It answers 503 until it is ready.
                if isinstance(error, urllib.error.HTTPError) and error.code != 503:
                    raise
                assert self.process.poll() is None, "Prometheus does not start"
            assert time.monotonic() < deadline, "never came true"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def dev():
    dev = Gateway()
    policy = Path(dev.policies, "teams/auditors.json")
    document = json.loads(policy.read_text())
    inventory = [
        (["gateway:StartInventoryRun", "gateway:GetInventory"], "*"),
        ("glacier:List*", f"arn:aws:glacier:*:{ACCOUNT}:vaults/*"),
    ]
    for actions, resource in inventory:
        statement = {"Effect": "Allow", "Action": actions, "Resource": resource}
        document["Statement"].append(statement)
    policy.write_text(json.dumps(document))
    yield dev
    dev.stop()


@pytest.fixture(scope="module")
def gateway(dev, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "revoked.json").write_text("{}")
    # What `dev` has set up, with a store of its own.
    settings = {
        "GATEWAY__SERVER__LISTEN": "127.0.0.1:0",
        "GATEWAY__SERVER__MANAGEMENT_LISTEN": "127.0.0.1:0",
        "GATEWAY__STORE__URL": f"sqlite:{folder}/store.db",
        "GATEWAY__AUDIT__CHECKPOINT_FILE": f"{folder}/checkpoint",
        "GATEWAY__KEYS__REVOCATION_FILE": f"{folder}/revoked.json",
        "AWS_ACCESS_KEY_ID": dev.simulator["accessKeyId"],
        "AWS_SECRET_ACCESS_KEY": dev.simulator["secretAccessKey"],
    }
    gateway = Serve(dev.config, folder, settings)
    gateway.tokens, gateway.vaults = dev.tokens, dev.vaults
    yield gateway
    gateway.stop()


def call(gateway, team, method, path, body=None):
    headers = {"Authorization": f"Bearer {gateway.tokens[team]}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(gateway.rest + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def idle(gateway, tmp_path_factory):
    """Prometheus, which reads a gateway that does nothing yet."""
    prometheus = Prometheus(gateway, tmp_path_factory.mktemp("prometheus"))
    try:
        prometheus.until(lambda: prometheus.query("glacier_gateway_build_info"))
        yield prometheus
    finally:
        prometheus.process.terminate()
        prometheus.process.wait(timeout=10)


@pytest.fixture(scope="module")
def prometheus(gateway, idle):
    """Prometheus, which has seen the gateway at every kind of work that a panel shows."""
    photos = next(vault for vault in gateway.vaults if vault["name"] == "media-photos")
    masters = next(vault for vault in gateway.vaults if vault["name"] == "media-masters")
    uploads = "/v1/accounts/{}/vaults/{}/multipart-uploads"
    abort = f"{uploads.format('-', 'media-photos')}/{photos['uploads'][0]['uploadId']}"
    elsewhere = uploads.format(masters["accountId"], "media-masters")

    def requests():
        assert call(gateway, "finance", "DELETE", abort) == 403
        assert call(gateway, "media", "DELETE", abort) == 204
        assert call(gateway, "media", "GET", elsewhere) == 200

    # A rate needs a number before that is smaller.
    requests()
    idle.until(lambda: idle.query('glacier_gateway_upstream_requests_total{result="ok"}'))
    requests()
    run = {"detail": "sizes", "vaults": ["media-photos"]}
    assert call(gateway, "auditors", "POST", "/v1/inventory-runs", run) == 202
    cli = {"GATEWAY_URL": gateway.rest, "GATEWAY_TOKEN": gateway.tokens["media"]}

    def jobs(*arguments):
        command = (BINARY, "jobs", *arguments)
        done = subprocess.run(command, env=cli, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # One is over soon, the other waits to be confirmed.
    jobs("confirm", jobs("create", "--vault", "media-photos", "--quiet-for", "PT0S"))
    jobs("create", "--vault", "media-video", "--quiet-for", "PT0S")
    return idle


@pytest.mark.parametrize("expression", PANELS)
def test_the_dashboards_query_finds_what_the_gateway_tells(prometheus, expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression

    def numbers():
        return [one for one in prometheus.query(expression) if one["value"][1] != "NaN"]

    prometheus.until(numbers)


def test_prometheus_evaluates_every_rule_and_a_gateway_that_is_well_raises_no_alert(prometheus):
    def evaluated():
        groups = prometheus.get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = prometheus.until(evaluated)
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(ALERTS)
    for rule in rules:
        assert rule["health"] == "ok", rule
        assert not rule.get("alerts"), rule


BLOCK = re.compile(r"<!-- run by tests/clients/test_monitoring\.py -->\n```sh\n(.*?)```", re.S)
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
COMMANDS = BLOCK.findall(RUNBOOK)
# What the page's `logs` makes of the lines of the pods.
(FILTER,) = re.findall(r"^logs\(\) \{.*?\| (jq [^;]*);", RUNBOOK, re.M | re.S)


@pytest.mark.parametrize("commands", COMMANDS, ids=lambda commands: commands[:40])
def test_the_runbooks_commands_can_be_pasted(gateway, prometheus, dev, commands, tmp_path):
    # What the page says first, as it is here; a log also has lines that are not JSON.
    first = f"""set -eu -o pipefail
        logs() {{ {{ echo "thread 'main' panicked"; cat {gateway.log}; }} | {FILTER}; }}
        gateway() {{ glacier-gateway "$@" --config "$GATEWAY_CONFIG"; }}
        """
    environment = gateway.environment | {
        "PATH": f"{Path(BINARY).parent}:{gateway.environment['PATH']}",
        "MANAGEMENT": gateway.management,
        "PROMETHEUS": prometheus.url.removesuffix("/api/v1"),
        "GATEWAY_URL": gateway.rest,
        "GATEWAY_TOKEN": gateway.tokens["auditors"],
        "POLICIES": dev.policies,
        "JWKS_URL": f"{dev.issuer}/jwks.json",
    }
    done = subprocess.run(
        ("bash", "-c", first + commands),
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_every_metric_of_the_alerts_is_one_that_the_gateway_tells(prometheus):
    told = set(prometheus.get("label/__name__/values"))
    for name, rule in ALERTS.items():
        for metric in re.findall(r"glacier_gateway_\w+", rule["expr"]):
            assert metric in told, f"{name}: {metric}"
