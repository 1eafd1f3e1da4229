"""Clients that generators make of the specification compile, and perform the calls
of `dev`: an abort, one that is denied, and a listing."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

SPECIFICATION = ROOT / "openapi/glacier-gateway.yaml"
PROGRAMS = ROOT / "tests/generated-clients"
MODULES = ROOT / "tests/clients/node_modules"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def performs_the_three_calls(gateway, *command, **environment):
    """Runs a program of tests/generated-clients, which prints what came of the calls."""
    vault = gateway.vaults[0]["name"]
    first, second, *others = [upload["uploadId"] for upload in gateway.vaults[0]["uploads"]]
    given = {
        "REST": gateway.rest,
        "MEDIA": gateway.tokens["media"],
        "FINANCE": gateway.tokens["finance"],
        "VAULT": vault,
        "FIRST": first,
        "SECOND": second,
    }
    done = run(*command, env={**os.environ, **given, **environment})
    told = json.loads(done.stdout)
    told["left"].sort()
    assert told == {
        "aborted": 204,
        "denied": {
            "status": 403,
            "code": "not-authorized",
            "reason": "implicitDeny",
            "policy": "teams/finance.json",
            "missed": "resource",
        },
        "left": sorted([second, *others]),
    }
    assert first not in gateway.uploads(vault)


@pytest.fixture
def typescript():
    """An empty folder from which npm packages are found."""
    folder = ROOT / "tests/clients/.generated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def compile_typescript(folder, program):
    """Checks and compiles a program of tests/generated-clients; returns what to run."""
    shutil.copy(PROGRAMS / program, folder)
    options = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]
    run(MODULES / ".bin/tsc", *options, "--types", "node", program, cwd=folder)
    return (folder / program).with_suffix(".js")


def test_openapi_python_client(gateway, tmp_path):
    bin = ROOT / ".cache/venv/bin"
    client = tmp_path / "client"
    # Ruff, which formats the client, is looked for in the path.
    generated = run(
        bin / "openapi-python-client", "generate", "--fail-on-warning",
        "--path", SPECIFICATION, "--output-path", client,
        env={**os.environ, "PATH": f"{bin}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert "warning" not in (generated.stdout + generated.stderr).lower()
    program = PROGRAMS / "openapi_python_client.py"
    performs_the_three_calls(gateway, sys.executable, program, PYTHONPATH=str(client))


def test_openapi_typescript(gateway, typescript):
    output = typescript / "generated.ts"
    run(MODULES / ".bin/openapi-typescript", SPECIFICATION, "--output", output)
    program = compile_typescript(typescript, "openapi-typescript.ts")
    performs_the_three_calls(gateway, "node", program)


def openapi_generator(generator, output, *options):
    without = "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"
    run(
        ROOT / ".cache/generators/bin/openapi-generator-cli", "generate",
        "--input-spec", SPECIFICATION, "--generator-name", generator,
        "--output", output, f"--global-property={without}", *options,
    )  # fmt: skip


@pytest.mark.slow
def test_openapi_generator_for_python(gateway, tmp_path):
    openapi_generator("python", tmp_path)
    python = ROOT / ".cache/generators/bin/python"
    program = PROGRAMS / "openapi_generator.py"
    performs_the_three_calls(gateway, python, program, PYTHONPATH=str(tmp_path))


@pytest.mark.slow
def test_openapi_generator_for_typescript(gateway, typescript):
    extension = "--additional-properties=importFileExtension=.js"
    openapi_generator("typescript-fetch", typescript / "client", extension)
    program = compile_typescript(typescript, "openapi-generator.ts")
    performs_the_three_calls(gateway, "node", program)


@pytest.mark.slow
def test_openapi_generator_for_java(gateway, tmp_path):
    openapi_generator(
        "java", tmp_path, "--library=native", "--additional-properties=openApiNullable=false"
    )
    # The generator is written in Java and brings the JSON library that its clients use.
    libraries = next((ROOT / ".cache/generators").rglob("openapi-generator.jar"))
    classes = tmp_path / "classes"
    sources = [*(tmp_path / "src/main").rglob("*.java"), *PROGRAMS.rglob("*.java")]
    run("javac", "-d", classes, "-cp", libraries, *sources)
    performs_the_three_calls(
        gateway, "java", "-cp", f"{classes}:{libraries}", "OpenApiGenerator"
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_progenitor(gateway):
    manifest = PROGRAMS / "progenitor/Cargo.toml"
    run("cargo", "build", "--locked", "--manifest-path", manifest)
    target = PROGRAMS / "progenitor/target/debug/progenitor-client-test"
    performs_the_three_calls(gateway, target)
