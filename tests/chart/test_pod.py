"""One pod of the chart, run here: its container's file system, command, environment,
volumes and probes as rendered, read-only and as the image's user, with credentials by
IRSA. Beside it stand a simulated Glacier, a token issuer and a stand-in for STS.

With GATEWAY_IMAGE, the file system is that image's (needs root and buildah), without
it a bare one with the program that was just built. Either way needs root, for mounts.
"""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import BINARY, FOLDER, SECRETS, VERSION, objects, of_kind, pod_files, run
from prometheus_client.openmetrics.parser import text_string_to_metric_families

IMAGE = os.environ.get("GATEWAY_IMAGE")
PROGRAM = "/usr/local/bin/glacier-gateway"
ROLE = "arn:aws:iam::111122223333:role/glacier-gateway"
WEB_IDENTITY = "a-token-of-the-service-account"
ACCOUNT, REGION, VAULT = "111122223333", "eu-central-1", "media-photos"
# What STS gives out and the simulated Glacier accepts.
KEY_ID, SECRET, SESSION_TOKEN = "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIEXAMPLEKEY", "a-session"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class Sts(BaseHTTPRequestHandler):
    """Gives the simulator's credentials to whoever brings the service account's
    token, as STS's AssumeRoleWithWebIdentity does."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.asked.append(urllib.parse.parse_qs(body))
        reply = f"""<AssumeRoleWithWebIdentityResponse>
          <AssumeRoleWithWebIdentityResult><Credentials>
            <AccessKeyId>{KEY_ID}</AccessKeyId>
            <SecretAccessKey>{SECRET}</SecretAccessKey>
            <SessionToken>{SESSION_TOKEN}</SessionToken>
            <Expiration>2099-01-01T00:00:00Z</Expiration>
          </Credentials></AssumeRoleWithWebIdentityResult>
        </AssumeRoleWithWebIdentityResponse>""".encode()
        self.send_response(200)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def http(url, method="GET", token=None):
    request = urllib.request.Request(url, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The container's file system."""
    if not IMAGE:
        folder = tmp_path_factory.mktemp("root")
        (folder / "usr/local/bin").mkdir(parents=True)
        shutil.copy(BINARY, folder / PROGRAM.removeprefix("/"))
        folder.chmod(0o755)
        yield folder
        return
    container = run("buildah", "from", "--pull-never", IMAGE).stdout.strip()
    yield Path(run("buildah", "mount", container).stdout.strip())
    run("buildah", "rm", container)


class Pod:
    """The gateway's container with its surroundings."""

    def __init__(self, root, folder, dev, glacier, sts):
        self.dev, self.glacier, (rest, management) = dev, glacier, free_ports(2)
        self.rest, self.management = f"http://127.0.0.1:{rest}", f"http://127.0.0.1:{management}"
        values = {
            "settings": {
                "aws": {
                    "region": REGION,
                    "account_id": ACCOUNT,
                    "endpoint_url": glacier["endpoint"],
                },
                "issuers": {
                    "dev": {
                        "issuer": dev["issuer"],
                        "audiences": ["glacier-gateway"],
                        "jwks_file": f"{FOLDER}/secrets/issuer/jwks.json",
                    }
                },
                "store": {"url": "sqlite:/var/lib/glacier-gateway/store.db"},
                "audit": {"key_files": {"1": f"{FOLDER}/secrets/audit-key/key"}},
            },
            "secrets": ["audit-key", "issuer"],
            "replicaCount": 1,
            "audit": {"checkpoints": {"volume": "claim"}},
            "serviceAccount": {"roleArn": ROLE},
            "env": [
                # All pods of this machine share its ports.
                {"name": "GATEWAY__SERVER__LISTEN", "value": f"127.0.0.1:{rest}"},
                {"name": "GATEWAY__SERVER__MANAGEMENT_LISTEN", "value": f"127.0.0.1:{management}"},
                {"name": "AWS_ENDPOINT_URL_STS", "value": sts},
            ],
        }
        teams = Path(dev["policies"], "teams").glob("*.json")
        values["policies"] = {"teams": {team.stem: team.read_text() for team in teams}}
        file = folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        rendered = objects(values=file)
        self.spec = of_kind(rendered, "Deployment")["spec"]["template"]["spec"]
        self.container = self.spec["containers"][0]

        # What the chart mounts, and what EKS's webhook adds for the annotation.
        volumes = folder / "volumes"
        jwks = http(f"{dev['issuer']}/jwks.json")[1]
        pod_files(rendered, volumes, SECRETS | {"issuer": {"jwks.json": jwks}})
        account = of_kind(rendered, "ServiceAccount")["metadata"]["annotations"]
        token = volumes / FOLDER.removeprefix("/") / "secrets/eks/token"
        token.parent.mkdir()
        token.write_text(WEB_IDENTITY)
        self.environment = {e["name"]: e["value"] for e in self.container["env"]} | {
            "AWS_ROLE_ARN": account["eks.amazonaws.com/role-arn"],
            "AWS_WEB_IDENTITY_TOKEN_FILE": f"{FOLDER}/secrets/eks/token",
        }
        folder.chmod(0o755)
        self.state = volumes / "var/lib"
        mounts = {volumes / FOLDER.removeprefix("/"): FOLDER, "/dev": "/dev", "/proc": "/proc"}
        mounts |= {folder: f"/var/lib/{folder.name}" for folder in self.state.iterdir()}
        if not IMAGE:
            for library in ("/lib", "/lib64", "/usr/lib", "/etc/ssl"):
                mounts[library] = library
        for target in mounts.values():
            (root / target.removeprefix("/")).mkdir(parents=True, exist_ok=True)
        self.root, self.mounts = root, mounts

    def run(self, *arguments, **options):
        """Starts the container's program with `arguments`."""
        user = self.spec["securityContext"]
        lines = ["mount --make-rprivate /", f"mount --bind {self.root} {self.root}"]
        lines += [f"mount --rbind {source} {self.root}{at}" for source, at in self.mounts.items()]
        if self.container["securityContext"]["readOnlyRootFilesystem"]:
            lines.append(f"mount -o remount,bind,ro {self.root}")
        lines.append(
            "exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid"
            f" chroot --userspec={user['runAsUser']}:{user['runAsGroup']} --groups="
            f' {self.root} {PROGRAM} "$@"'
        )
        command = ["unshare", "--mount", "sh", "-ec", "\n".join(lines), "sh", *arguments]
        return subprocess.Popen(
            command, env={"PATH": os.environ["PATH"], **self.environment}, text=True, **options
        )

    def probe(self, name):
        return http(self.management + self.container[name]["httpGet"]["path"])[0]

    def start(self):
        """Starts the gateway and waits as a kubelet would; returns the seconds."""
        began = time.monotonic()
        self.process = self.run(*self.container["args"], stderr=subprocess.PIPE)
        self.log = []
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()
        while True:
            try:
                if self.probe("startupProbe") == 200:
                    return time.monotonic() - began
            except urllib.error.URLError:
                pass
            assert self.process.poll() is None, self.log
            time.sleep(0.001)


def started(*command):
    """A process, and what it prints of itself on its first line."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return process, json.loads(process.stdout.readline())


@pytest.fixture(scope="module")
def dev():
    """An issuer of tokens and the example policies; its gateway is not used."""
    process, facts = started(BINARY, "dev", "--port", "0", "--json")
    yield facts
    process.terminate()
    assert process.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def glacier(tmp_path_factory):
    """A simulated Glacier with one vault and one upload."""
    seed = tmp_path_factory.mktemp("glacier") / "seed.json"
    upload = {"archiveDescription": "x", "partSizeInBytes": 1 << 20, "parts": 1, "ageSeconds": 60}
    vault = {"accountId": ACCOUNT, "region": REGION, "vaultName": VAULT, "uploads": [upload]}
    seed.write_text(json.dumps([vault]))
    credentials = ":".join((ACCOUNT, KEY_ID, SECRET, SESSION_TOKEN))
    process, facts = started(BINARY, "simulator", "--credentials", credentials, "--seed", seed)
    yield facts
    process.terminate()
    assert process.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def sts():
    server = HTTPServer(("127.0.0.1", 0), Sts)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def pod(root, dev, glacier, sts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pod")
    pod = Pod(root, folder, dev, glacier, f"http://127.0.0.1:{sts.server_port}")
    pod.seconds = pod.start()
    yield pod
    if pod.process.poll() is None:
        pod.process.kill()


def test_the_pod_starts_and_its_probes_are_green(pod):
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod.probe(probe) == 200, pod.log
    print(f"\nstart-up: {pod.seconds * 1000:.0f} ms until {pod.container['startupProbe']}")
    print(f"idle memory: {memory(pod.process.pid)}")


def memory(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = dict(re.findall(r"^(\w+): +(\d+) kB$", text, re.M))
    return ", ".join(f"{k} {int(sizes[k]) / 1024:.1f} MiB" for k in ("Rss", "Pss", "Anonymous"))


def test_the_program_runs_as_the_images_user_without_capabilities(pod):
    status = Path(f"/proc/{pod.process.pid}/status").read_text()
    assert re.search(r"^Uid:\t65532\t65532\t65532\t65532$", status, re.M)
    assert re.search(r"^Groups:\t *$", status, re.M)
    assert re.search(r"^CapEff:\t0+$", status, re.M)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M)


def test_the_first_abort_as_the_notes_say(pod, sts):
    def state():
        seen = json.loads(http(f"{pod.glacier['control']}/state")[1])
        [upload] = seen["vaults"][0]["uploads"]
        return upload["MultipartUploadId"], upload["status"]

    upload, _ = state()
    vaults = f"{pod.rest}/v1/accounts/-/vaults"
    status, body = http(vaults, token=pod.dev["tokens"]["media"])
    assert status == 200 and VAULT in body, pod.log
    url = f"{vaults}/{VAULT}/multipart-uploads/{upload}"
    assert http(url, "DELETE", pod.dev["tokens"]["finance"])[0] == 403
    assert state() == (upload, "in-progress")
    assert http(url, "DELETE", pod.dev["tokens"]["media"])[0] == 204
    assert state() == (upload, "aborted")

    # The credentials came by IRSA, once.
    [asked] = sts.asked
    assert asked["Action"] == ["AssumeRoleWithWebIdentity"]
    assert asked["RoleArn"] == [ROLE] and asked["WebIdentityToken"] == [WEB_IDENTITY]


def until(condition, pod):
    """What `condition` gives, as soon as it gives something."""
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, pod.log
        time.sleep(0.01)
    return found


def test_the_abort_is_in_the_trail_and_a_checkpoint_outside_of_the_store_vouches_for_it(pod):
    def trail():
        with closing(sqlite3.connect(pod.state / "glacier-gateway/store.db")) as store:
            rows = store.execute("SELECT entry FROM audit_entry ORDER BY position").fetchall()
        entries = [json.loads(entry) for (entry,) in rows]
        return entries if any(e.get("outcome") == "aborted" for e in entries) else None

    entries = until(trail, pod)
    [outcome] = [e for e in entries if e.get("outcome") == "aborted"]
    same = [e["eventType"] for e in entries if e["eventID"] == outcome["eventID"]]
    assert same == ["Intent", "Outcome"]

    checkpoint = pod.state / "glacier-gateway-checkpoints/checkpoint"
    until(lambda: checkpoint.exists() and int(checkpoint.read_text().split("\n")[1]) >= len(entries), pod)
    for file in (checkpoint, *(pod.state / "glacier-gateway").iterdir()):
        assert (file.stat().st_uid, file.stat().st_gid) == (65532, 65532), file
    settings = pod.container["args"][1:]
    verify = pod.run("audit", "verify", *settings, stdout=subprocess.PIPE)
    assert (verify.wait(timeout=20), "the trail holds" in verify.stdout.read()) == (0, True)


def test_a_strict_parser_reads_the_metrics(pod):
    families = {f.name: f for f in text_string_to_metric_families(http(f"{pod.management}/metrics")[1])}
    samples = {s.name: s for f in families.values() for s in f.samples}
    assert families["glacier_gateway_request_duration_seconds"].unit == "seconds"
    assert samples["glacier_gateway_build_info"].labels["version"] == VERSION
    if IMAGE:
        assert samples["glacier_gateway_build_info"].labels["revision"] != "unknown"


def test_healthcheck_says_how_the_gateway_is(pod):
    address = pod.management.removeprefix("http://")
    test = pod.run("healthcheck", "--ready", f"--address={address}", stdout=subprocess.PIPE)
    assert (test.wait(timeout=10), "readyz: ok" in test.stdout.read()) == (0, True)
    pod.environment["GATEWAY_CONFIG"] = f"{FOLDER}/config.toml"
    assert pod.run("healthcheck").wait(timeout=10) == 0


def test_a_policy_that_cannot_be_read_keeps_a_new_pod_from_starting(pod):
    broken = next(source for source, at in pod.mounts.items() if at == FOLDER)
    policy = broken / "policies/..data/teams/media.json"
    text = policy.read_text()
    policy.write_text(text.replace("Allow", "Alow", 1))
    try:
        started = pod.run(*pod.container["args"], stderr=subprocess.PIPE)
        assert started.wait(timeout=20) == 64
        assert "teams/media.json" in started.stderr.read()
    finally:
        policy.write_text(text)


def test_sigterm_ends_the_pod_within_its_grace_period(pod):
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(timeout=pod.spec["terminationGracePeriodSeconds"]) == 0


only_with_an_image = pytest.mark.skipif(not IMAGE, reason="needs GATEWAY_IMAGE")


@only_with_an_image
def test_the_image_starts_the_program_as_a_numeric_user_and_says_what_it_is():
    config = json.loads(run("buildah", "inspect", "--type", "image", IMAGE).stdout)
    config = config["Docker"]["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == [PROGRAM] and config["Cmd"] == ["serve"]
    assert config["Healthcheck"]["Test"] == ["CMD", PROGRAM, "healthcheck"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


@only_with_an_image
def test_the_image_holds_neither_a_shell_nor_a_package_manager_nor_a_setuid_file(root):
    files = [
        file
        for top in ("etc", "home", "tmp", "usr")
        for file in (root / top).rglob("*")
        if file.is_file() and not file.is_symlink()
    ]
    programs = {file.name for file in files if file.stat().st_mode & 0o111}
    assert "glacier-gateway" in programs
    assert not programs & {"sh", "bash", "dash", "busybox", "apt", "dpkg", "apk", "curl"}
    assert [file for file in files if file.stat().st_mode & 0o6000] == []


@only_with_an_image
def test_the_image_has_neither_simulator_nor_dev(pod):
    for command in ("simulator", "dev"):
        process = pod.run(command, stderr=subprocess.PIPE)
        assert process.wait(timeout=10) == 2
        assert "unrecognized subcommand" in process.stderr.read()
