"""What runs on a code host, as far as it can be tried without one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, tracked

FILES = {
    ".github/workflows/ci.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
    "action.yml": "vendor.github-actions",
}


@pytest.mark.parametrize(("file", "schema"), FILES.items())
def test_the_file_keeps_to_its_schema(file, schema):
    checker = Path(sys.executable).parent / "check-jsonschema"
    command = (checker, "--builtin-schema", schema, ROOT / file)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it():
    for file in FILES:
        for used in re.findall(r"\buses: (.+)", (ROOT / file).read_text()):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_every_target_that_runs_is_one_of_the_makefile():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    jobs = workflow["jobs"]
    targets = set(jobs["nightly"]["strategy"]["matrix"]["target"])
    [test] = [step["run"] for step in jobs["test"]["steps"] if step.get("run", "").startswith("make")]
    assert test == "make lint test"
    makefile = (ROOT / "Makefile").read_text()
    for target in targets | set(test.split()[1:]):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_dependabot_looks_after_every_folder_that_has_dependencies():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    looked_after = {
        (update["package-ecosystem"], folder)
        for update in updates
        for folder in update.get("directories", [update.get("directory")])
    }
    for kind, pattern in [("cargo", "*Cargo.lock"), ("npm", "*package-lock.json"), ("pip", "*requirements.txt")]:
        for file in tracked(pattern):
            folder = "/" + str(file.parent.relative_to(ROOT)).removeprefix(".")
            # The programs that the benchmark measures stay as they were measured.
            assert (kind, folder) in looked_after or folder.startswith("/bench/peers"), file
