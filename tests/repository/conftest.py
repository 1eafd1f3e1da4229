"""What the tests of the repository itself share."""

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def tracked(*patterns):
    """The files that are in the repository, or would be with the next commit."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).is_file()]
