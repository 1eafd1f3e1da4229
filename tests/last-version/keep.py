"""keep.py PROGRAM REVISION: keeps in this folder what a version was, for the tests that hold the
next one to it. Run it in a checkout of that version, with its debug build (docs/releasing.md).

Needs PostgreSQL's programs and OpenSSL."""

import contextlib
import glob
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAM, REVISION = sys.argv[1:]
POSTGRES = max(glob.glob("/usr/lib/postgresql/*/bin"), default=None)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def everything():
    """Every setting of default.toml that can stand beside the others, as it is documented."""
    text = (ROOT / "config/default.toml").read_text()
    text = re.sub(r'^# (?=\[[\w.-]+\]$|\w+ = ["\[{\w])', "", text, flags=re.M)
    # What stands there is one of two, or is good for one region only.
    text = re.sub(r"^(jwks_file|external_id_file|sts_endpoint_url) = .*\n", "", text, flags=re.M)
    text = text.replace('regions = ["eu-central-1", "us-east-1"]', 'regions = ["eu-central-1"]')
    text = re.sub(r'^url = "none"', 'url = "sqlite:/etc/glacier-gateway/store.db"', text, flags=re.M)
    text = re.sub(r"^(ca_file|password_file) = .*store.*\n", "", text, flags=re.M)
    text = re.sub(r"/var/run/secrets/kubernetes.io/serviceaccount|/run/secrets", "/etc/glacier-gateway", text)
    text = text.replace("/var/lib/glacier-gateway-checkpoints", "/etc/glacier-gateway")
    text = re.sub(r'^directory = "policies"', 'directory = "/etc/glacier-gateway/policies"', text, flags=re.M)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    tomllib.loads("\n".join(lines))
    return "\n".join(lines).replace("/etc/glacier-gateway", "FOLDER") + "\n"


@contextlib.contextmanager
def postgres(folder):
    """A cluster of its own; gives the URL of its database."""
    folder = Path(folder) / "postgres"
    folder.mkdir()
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if as_user:
        for path in (folder, folder.parent):
            shutil.chown(path, "postgres")
    port = free_port()
    data = str(folder / "data")
    run(*as_user, f"{POSTGRES}/initdb", "-D", data, "-U", "gateway", "--auth=trust", "--encoding=UTF8", cwd="/")
    start = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
    # With a log file: the server would hold our pipe open.
    control = [*as_user, f"{POSTGRES}/pg_ctl", "-D", data, "-w"]
    run(*control, "-l", f"{folder}/log", "-o", start, "start", cwd="/")
    try:
        yield f"postgres://gateway@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "fast", "stop", cwd="/")


class Ran:
    """The gateway as `dev` sets it up, with a store of our own."""

    def __init__(self, dev, folder, store):
        self.dev, self.rest = dev, free_port()
        management = free_port()
        config = Path(dev["config"]).read_text()
        for name, port in (("listen", self.rest), ("management_listen", management)):
            config = re.sub(rf'^( *{name} = )"[^"]+"', rf'\1"127.0.0.1:{port}"', config, flags=re.M)
        config = re.sub(r'^( *url = )"sqlite:[^"]+"', rf'\1"{store}"', config, flags=re.M)
        config = re.sub(r'^( *checkpoint_file = )"[^"]+"', rf'\1"{folder}/checkpoint"', config, flags=re.M)
        self.config = Path(folder) / "gateway.toml"
        self.config.write_text(config)
        secret = dev["simulator"]["secretAccessKey"]
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": dev["simulator"]["accessKeyId"],
            "AWS_SECRET_ACCESS_KEY": secret,
        }
        command = (PROGRAM, "serve", "--config", str(self.config))
        self.log = (Path(folder) / "log").open("wb")
        self.process = subprocess.Popen(command, env=environment, stderr=self.log)
        while subprocess.run(
            (PROGRAM, "healthcheck", "--ready", "--address", f"127.0.0.1:{management}"),
            capture_output=True, check=False,
        ).returncode:  # fmt: skip
            assert self.process.poll() is None, Path(self.log.name).read_text()
            time.sleep(0.1)

    def ask(self, method, path, body=None, team="media"):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.dev['tokens'][team]}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                text = reply.read()
                return reply.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def live(self):
        """Some of everything that the store keeps: an abort, a read, a denial, a job, a run of the
        inventory."""
        uploads = "/v1/accounts/-/vaults/{}/multipart-uploads"
        media = next(v for v in self.dev["vaults"] if v["name"] == "media-photos")
        one = f"{uploads.format('media-photos')}/{media['uploads'][0]['uploadId']}"
        assert self.ask("DELETE", one)[0] in (204, 404)
        assert self.ask("GET", uploads.format("media-photos"))[0] == 200
        assert self.ask("DELETE", one, team="finance")[0] == 403
        job = {"target": {"vaults": ["media-video"]}, "select": {"all": True, "quietFor": "PT0S"}}
        status, made = self.ask("POST", "/v1/abort-jobs", job)
        assert status in (200, 201, 202), made
        job = f"/v1/abort-jobs/{made['jobId']}"
        self.until(job, "awaiting-confirmation", "completed")
        status, started = self.ask("POST", "/v1/inventory-runs", {"vaults": ["media-photos", "media-video"]})
        assert status == 202, started
        self.until(f"/v1/inventory-runs/{started['runId']}", "completed", "incomplete")

    def until(self, path, *states):
        """Waits until what is there is in one of the states."""
        while (now := self.ask("GET", path)[1]).get("state") not in states:
            assert now.get("state") not in (None, "failed"), now
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def verified(self):
        """Ends the gateway, verifies its trail, and gives the key that others verify it by."""
        self.process.terminate()
        assert self.process.wait() == 0
        run(PROGRAM, "audit", "verify", "--config", str(self.config))
        keys = run(PROGRAM, "audit", "keys", "--config", str(self.config))
        return re.search(r"\S+\+[0-9a-f]{8}\+\S+", keys)[0]


def stores(dev, folder):
    """Dumps a store of each kind that has been lived in."""
    # The inventory asks for permissions that the example's teams lack.
    policy = Path(dev["policies"]) / "teams/media.json"
    document = json.loads(policy.read_text())
    document["Statement"].append({"Effect": "Allow", "Action": "gateway:*", "Resource": "*"})
    policy.write_text(json.dumps(document))
    keys = {}
    file = Path(folder) / "store.db"
    with Ran(dev, folder, f"sqlite:{file}") as gateway:
        gateway.live()
        keys["sqlite"] = gateway.verified()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (HERE / "store.sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n")
    (Path(folder) / "checkpoint").unlink()
    with postgres(folder) as url:
        with Ran(dev, folder, url) as gateway:
            gateway.live()
            keys["postgres"] = gateway.verified()
        dump = run(f"{POSTGRES}/pg_dump", "--inserts", "--no-owner", "--no-privileges", url)
    # What only psql knows, and the setting that would hide the tables from the rest.
    lines = [s for s in dump.splitlines() if not s.startswith(("\\", "SELECT pg_catalog.set_config"))]
    (HERE / "store.postgres.sql").write_text("\n".join(lines) + "\n")
    (HERE / "keys.json").write_text(json.dumps(keys, indent=2) + "\n")


def decisions():
    """What the example policies decide about each team, in vaults of its own and of others."""
    said = []
    for team in ("media", "finance", "auditors"):
        for vault in ("media-photos", "finance-ledgers"):
            arn = f"arn:aws:glacier:eu-central-1:111122223333:vaults/{vault}"
            words = f"--team {team} --resource {arn}"
            folder = HERE / "settings/policies"
            for case in json.loads(run(PROGRAM, "policy", "simulate", str(folder), *words.split(), "--json")):
                said.append(f"{words} --action {case['action']}: {case['decision']}")
    return "\n".join(said) + "\n"


def main():
    shutil.rmtree(HERE / "settings", ignore_errors=True)
    shutil.copytree(ROOT / "examples/policies", HERE / "settings/policies")
    (HERE / "settings/everything.toml").write_text(everything())
    example = (ROOT / "config/example.toml").read_text()
    example = re.sub(r"/(etc|var/lib)/glacier-gateway(-checkpoints)?", "FOLDER", example)
    (HERE / "settings/example.toml").write_text(example)
    shutil.rmtree(HERE / "values", ignore_errors=True)
    shutil.copytree(ROOT / "helm/glacier-gateway/ci", HERE / "values")
    (HERE / "decisions.txt").write_text(decisions())
    shutil.copy(ROOT / "openapi/glacier-gateway.yaml", HERE / "openapi.yaml")
    migrations = sorted((ROOT / "src/store/migrations").glob("*/*.sql"))
    kept = {str(path.relative_to(ROOT)): path.read_text() for path in migrations}
    (HERE / "migrations.json").write_text(json.dumps(kept, indent=2) + "\n")
    version = run(PROGRAM, "--version").split()[1]
    (HERE / "version").write_text(f"{version} {REVISION}\n")
    with tempfile.TemporaryDirectory() as folder:
        command = (PROGRAM, "dev", "--json", "--port", "0")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as dev:
            try:
                stores(json.loads(dev.stdout.readline()), folder)
            finally:
                dev.terminate()


main()
