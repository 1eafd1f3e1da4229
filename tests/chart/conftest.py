"""Fixtures of the chart's tests: real helm, and what it renders."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/glacier-gateway"
TOOLS = ROOT / ".cache/chart/bin"
BINARY = os.environ.get("GATEWAY_BIN", str(ROOT / "target/debug/glacier-gateway"))
VALUE_SETS = sorted(CHART.glob("ci/*-values.yaml"))


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


def pod_files(rendered, folder):
    """Writes the Deployment's ConfigMap volumes below `folder` as a kubelet does,
    with the symlinks by which it replaces them, and returns the paths of the
    settings and of the policies."""
    pod = of_kind(rendered, "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    for volume in pod["volumes"]:
        if "configMap" not in volume:
            continue
        source = volume["configMap"]
        data = rendered["ConfigMap", source["name"]].get("data") or {}
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        version = folder / volume["name"] / "..2026_11_23"
        version.mkdir(parents=True)
        (version.parent / "..data").symlink_to(version.name)
        for item in items:
            file = version / item["path"]
            file.parent.mkdir(exist_ok=True)
            file.write_text(data[item["key"]])
            top = version.parent / Path(item["path"]).parts[0]
            if not top.is_symlink():
                top.symlink_to(Path("..data") / top.name)
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    assert mounts["settings"]["mountPath"] == container["args"][2]
    settings = folder / "settings" / mounts["settings"]["subPath"]
    return settings, folder / "policies"


@pytest.fixture(params=VALUE_SETS, ids=lambda path: path.stem)
def values(request):
    return request.param


