"""Fixtures of the chart's tests: real helm, and what it renders."""

import os
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/glacier-gateway"
TOOLS = ROOT / ".cache/chart/bin"
BINARY = os.environ.get("GATEWAY_BIN", str(ROOT / "target/debug/glacier-gateway"))
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
FOLDER = "/etc/glacier-gateway"
VALUE_SETS = sorted(CHART.glob("ci/*-values.yaml"))


def certificate():
    """A new certificate with its key, as a Secret of cert-manager holds them."""
    subject = ("-subj", "/CN=gateway", "-addext", "subjectAltName=DNS:gateway")
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("tls.crt", "tls.key")}
        key = ("-newkey", "rsa:2048", "-nodes", "-keyout", files["tls.key"])
        command = ("openssl", "req", "-x509", "-days", "30", *key, *subject)
        subprocess.run((*command, "-out", files["tls.crt"]), capture_output=True, check=True)
        return {name: file.read_text() for name, file in files.items()}


# Contents of the Secrets that the value sets refer to.
SECRETS = {
    "audit-key": {
        "key": "PRIVATE+KEY+glacier-gateway-audit+2f3477bf+AWFuIGF1ZGl0IGtleSB0aGF0IG5vYm9keSB1c2VzIDEh\n",
        "next": "PRIVATE+KEY+glacier-gateway-audit+d66a287d+AWFuIGF1ZGl0IGtleSB0aGF0IG5vYm9keSB1c2VzIDIh\n",
    },
    "ci-issuer": {"jwks.json": '{"keys": []}'},
    "external-ids": {"video": "glacier-gateway-video\n"},
    "master-key": {"key": "c2l4dHktZm91ciBieXRlcyBvZiBhIG1hc3RlciBrZXkgdGhhdCBub2JvZHkgdXNlcw==\n"},
    "revoked-keys": {"revoked-keys.json": "{}"},
    "callers-ca": {"ca.crt": (ROOT / "tests/chart/ca.crt").read_text()},
    "glacier-gateway-tls": certificate(),
    "store": {"ca.crt": (ROOT / "tests/chart/ca.crt").read_text(), "password": "a password\n"},
}

# Contents of the ConfigMaps that the value sets refer to, as docs/accounts.md and
# docs/campaigns.md have them.
[ACCOUNT_FILE] = re.findall(
    r"```toml\n# accounts/([^\n]+)\n(.*?)```", (ROOT / "docs/accounts.md").read_text(), re.S
)
[RULE_FILE] = re.findall(
    r"```toml\n# lifecycle/([^\n]+)\n(.*?)```", (ROOT / "docs/campaigns.md").read_text(), re.S
)
CONFIG_MAPS = {
    "glacier-gateway-accounts": dict([ACCOUNT_FILE]),
    "glacier-gateway-lifecycle": dict([RULE_FILE]),
}


def run(*command, check=True, **options):
    """Runs a command; its output is in the failure's message."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120, **options
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def helm(*arguments, **options):
    return run(TOOLS / "helm", *arguments, **options)


def template(*arguments, values=CHART / "ci/default-values.yaml", **options):
    """The chart as text, for release `gateway` in namespace `platform`."""
    return helm(
        "template", "gateway", CHART, "--namespace", "platform", "--values", values,
        *arguments, **options,
    )  # fmt: skip


def objects(*arguments, **options):
    """The rendered objects by kind and name."""
    documents = yaml.safe_load_all(template(*arguments, **options).stdout)
    return {(o["kind"], o["metadata"]["name"]): o for o in documents}


def of_kind(rendered, kind):
    """The one object of a kind."""
    [found] = [o for (k, _), o in rendered.items() if k == kind]
    return found


def pod_files(rendered, root, secrets=SECRETS):
    """Writes the volumes of the Deployment's pod below `root`, each where the
    container mounts it, as a kubelet does: with the symlinks by which it replaces
    a volume's files. What the pod may write belongs to its `fsGroup`. Returns the folder
    that the gateway knows as FOLDER."""
    pod = of_kind(rendered, "Deployment")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in pod["containers"][0]["volumeMounts"]:
        volume = volumes[mount["name"]]
        target = root / mount["mountPath"].removeprefix("/")
        if source := volume.get("configMap"):
            name = source["name"]
            data = CONFIG_MAPS.get(name) or rendered["ConfigMap", name].get("data") or {}
        elif source := volume.get("secret"):
            data = secrets[source["secretName"]]
        else:
            target.mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(target, 0, pod["securityContext"]["fsGroup"])
                target.chmod(0o2775)
            continue
        if "subPath" in mount:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(data[mount["subPath"]])
            continue
        version = target / "..2026_11_23"
        version.mkdir(parents=True)
        (target / "..data").symlink_to(version.name)
        for item in source.get("items") or [{"key": key, "path": key} for key in data]:
            file = version / item["path"]
            file.parent.mkdir(exist_ok=True)
            file.write_text(data[item["key"]])
            top = Path(item["path"]).parts[0]
            if not (target / top).is_symlink():
                (target / top).symlink_to(Path("..data") / top)
    return root / FOLDER.removeprefix("/")


@pytest.fixture(params=VALUE_SETS, ids=lambda path: path.stem)
def values(request):
    return request.param


