"""There is one version: Cargo.toml's. Whatever else names it is compared here."""

import re
import tomllib

import yaml
from conftest import ROOT, VERSION


def read(path):
    return (ROOT / path).read_text()


def test_everything_that_names_the_version_names_the_one_of_cargo_toml():
    locked = tomllib.loads(read("Cargo.lock"))["package"]
    chart = yaml.safe_load(read("helm/glacier-gateway/Chart.yaml"))
    named = {
        "Cargo.lock": next(p["version"] for p in locked if p["name"] == "glacier-gateway"),
        "the chart": chart["version"],
        "the chart's program": chart["appVersion"],
        "the specification": yaml.safe_load(read("openapi/glacier-gateway.yaml"))["info"]["version"],
        "docs/deploy.md": re.search(r"\bVERSION=(\S+)", read("docs/deploy.md"))[1],
    }
    assert set(named.values()) == {VERSION}, named


def test_the_makefile_derives_the_version():
    assert VERSION not in read("Makefile") + read("Dockerfile")


def test_the_changelog_tells_of_this_version_first_and_of_what_is_to_come():
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", read("CHANGELOG.md"), re.M)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == VERSION
    assert all(date for _, date in headings[1:])


def test_an_image_is_built_with_the_oldest_compiler_that_works():
    oldest = tomllib.loads(read("Cargo.toml"))["package"]["rust-version"]
    assert f"rust:{oldest}-" in read("Dockerfile")
    assert tomllib.loads(read("rust-toolchain.toml"))["toolchain"]["channel"] == "stable"
