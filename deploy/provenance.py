"""provenance.py VERSION REVISION FOLDER IMAGE=DIGEST…: prints where the files of the folder come
from, as an in-toto statement with SLSA's predicate (https://slsa.dev/spec/v1.0/provenance).

It says what was built of what. That it is true is the word of whoever signs the checksums:
no build service vouches for it (SLSA's level 1)."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION, REVISION, FOLDER, *IMAGES = sys.argv[1:]


def sha256(path):
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def image(text):
    name, _, digest = text.rpartition("=")
    kind, _, value = digest.partition(":")
    return {"uri": f"oci:{name}", "digest": {kind: value}}


inputs = ["Cargo.lock", "Dockerfile", "deploy/trial.profile.gz", "rust-toolchain.toml"]
statement = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [
        {"name": path.name, "digest": sha256(path)} for path in sorted(Path(FOLDER).iterdir())
    ],
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {
        "buildDefinition": {
            "buildType": "urn:glacier-gateway:make-release:1",
            "externalParameters": {"version": VERSION, "revision": REVISION},
            "internalParameters": {"SOURCE_DATE_EPOCH": os.environ["SOURCE_DATE_EPOCH"]},
            "resolvedDependencies": [
                {"name": "sources", "digest": {"gitCommit": REVISION}},
                *({"name": name, "digest": sha256(ROOT / name)} for name in inputs),
                *map(image, IMAGES),
            ],
        },
        "runDetails": {
            "builder": {
                "id": os.environ.get("RELEASE_BUILDER", "urn:glacier-gateway:builder:unnamed"),
                "version": {"buildah": said("buildah", "--version"), "rustc": said("rustc", "--version")},
            },
        },
    },
}
print(json.dumps(statement, indent=2))
