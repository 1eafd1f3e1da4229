"""The policies of somebody else's repository: linted by the action and before each commit."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

PROGRAM = os.environ.get("GATEWAY_BIN", str(ROOT / "target/debug/glacier-gateway"))
GOOD = json.loads((ROOT / "examples/policies/teams/media.json").read_text())
BAD = json.loads(json.dumps(GOOD).replace("glacier:AbortMultipartUpload", "glacier:AbortUpload"))


@pytest.fixture
def repository(tmp_path):
    """A repository with a folder of policies, in a folder with a space in its name."""
    path = tmp_path / "a repository"
    (path / "policies/teams").mkdir(parents=True)
    git(path, "init", "--quiet")
    git(path, "config", "user.email", "ann@example.com")
    git(path, "config", "user.name", "Ann")
    write(path, GOOD)
    return path


def git(path, *arguments):
    subprocess.run(("git", *arguments), cwd=path, check=True, capture_output=True)


def write(path, policy):
    (path / "policies/teams/media.json").write_text(json.dumps(policy, indent=2))


def run_action(repository, runner, **given):
    """Runs the action's own steps as a runner does, and returns the exit code and its outputs."""
    runner.mkdir()
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    values = {f"inputs.{name}": given.get(name, i["default"]) for name, i in action["inputs"].items()}
    values["github.action_path"] = str(ROOT)

    def fill(text):
        return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: values[found[1]], text)

    for step in action["runs"]["steps"]:
        if "uses" in step:
            continue
        output = runner / "output"
        output.write_text("")
        environment = {name: fill(value) for name, value in step.get("env", {}).items()}
        environment |= {"GITHUB_OUTPUT": str(output), "RUNNER_TEMP": str(runner), "PATH": os.environ["PATH"]}
        assert step["shell"] == "bash" and "${{" not in step["run"]
        # As GitHub runs a step whose shell is bash.
        command = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"])
        done = subprocess.run(command, cwd=repository, env=environment, check=False)
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            values[f"steps.{step['id']}.outputs.{name}"] = value
        if done.returncode:
            return done.returncode, values
    return 0, values


def test_the_action_passes_good_policies_and_reports_bad_ones(repository, tmp_path):
    status, outputs = run_action(repository, tmp_path / "1", program=PROGRAM)
    assert status == 0
    write(repository, BAD)
    status, outputs = run_action(repository, tmp_path / "2", program=PROGRAM)
    assert status == 1
    sarif = json.loads(Path(outputs["steps.lint.outputs.sarif"]).read_text())
    [run] = sarif["runs"]
    [result] = run["results"]
    assert sarif["version"] == "2.1.0" and result["ruleId"] == "unknown-action"
    [place] = result["locations"]
    # GitHub shows it beside the line, so the path is the repository's.
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "policies/teams/media.json"
    assert place["physicalLocation"]["region"]["startLine"] > 1


def test_the_action_fails_without_a_folder_and_on_warnings_if_it_shall(repository, tmp_path):
    assert run_action(repository, tmp_path / "1", program=PROGRAM, policies="none")[0] == 64
    write(repository, GOOD | {"Version": "2008-10-17"})
    assert run_action(repository, tmp_path / "2", program=PROGRAM)[0] == 0
    strict = {"program": PROGRAM, "deny-warnings": "true"}
    assert run_action(repository, tmp_path / "3", **strict)[0] == 1


def test_pre_commit_lets_no_bad_policy_into_the_repository(repository, tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    git(hooks, "init", "--quiet")
    git(hooks, "add", ".")
    identity = ("-c", "user.email=ann@example.com", "-c", "user.name=Ann")
    git(hooks, *identity, "commit", "--quiet", "--message", "Hooks")
    git(hooks, "tag", "v1")
    [hook] = yaml.safe_load((hooks / ".pre-commit-hooks.yaml").read_text())
    config = {"repos": [{"repo": hooks.as_uri(), "rev": "v1", "hooks": [{"id": hook["id"]}]}]}
    (repository / ".pre-commit-config.yaml").write_text(json.dumps(config))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "glacier-gateway").symlink_to(PROGRAM)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
    }

    def commit():
        git(repository, "add", ".")
        command = ("git", "commit", "--message", "Policies")
        done = subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    pre_commit = Path(sys.executable).parent / "pre-commit"
    subprocess.run((pre_commit, "install"), cwd=repository, env=environment, check=True)
    status, said = commit()
    assert status == 0, said
    write(repository, BAD)
    status, said = commit()
    assert status == 1 and "unknown-action" in said, said
