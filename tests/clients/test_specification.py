"""The OpenAPI document, and a live gateway held against it."""

import os
import subprocess

import pytest
from conftest import ROOT

CLIENTS = ROOT / "tests/clients"


def test_the_linter_finds_neither_error_nor_warning():
    command = ["npx", "--no-install", "redocly", "lint", "--extends=recommended"]
    lint = subprocess.run(
        [*command, "--format=json", str(ROOT / "openapi/glacier-gateway.yaml")],
        cwd=CLIENTS,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        capture_output=True,
        text=True,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert '"errors": 0' in lint.stdout and '"warnings": 0' in lint.stdout, lint.stdout


# The auditors' team may read the trail, and nearly everything else is media's.
@pytest.mark.parametrize(
    ("team", "options"), [("media", []), ("auditors", ["--include-path-regex=^/v1/audit"])]
)
def test_schemathesis_finds_nothing(gateway, team, options):
    run = subprocess.run(
        [
            ROOT / ".cache/venv/bin/st",
            f"--config-file={CLIENTS / 'schemathesis.toml'}",
            "run",
            gateway.openapi,
            "--checks=all",
            f"--header=Authorization: Bearer {gateway.tokens[team]}",
            "--max-examples=50",
            "--seed=1",
            "--continue-on-failure",
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
