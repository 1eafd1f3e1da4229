"""The reference pages say what the code says. `make reference` writes anew what is made of it.

tests/policy/lint.rs holds the linter's codes against their page, tests/it/management.rs and
tests/it/docs.rs metrics and commands, tests/clients/test_audit_record.py the records against
their schema.
"""

import http
import json
import os
import re

import pytest
import yaml
from conftest import ROOT, tracked

CODE = re.compile(r"((?: +/// .+\n)+) +\w+ = \"([a-z-]+)\", ([A-Z_]+), \"([^\"]+)\";")


# Statuses that Python calls otherwise.
OTHERWISE = {"PAYLOAD_TOO_LARGE": 413, "URI_TOO_LONG": 414}


def status_of(name):
    return OTHERWISE.get(name) or int(http.HTTPStatus[name])


def problems():
    """A row for each code of `codes!`."""
    source = (ROOT / "src/http/problem.rs").read_text()
    rows = []
    for comment, code, status, title in CODE.findall(source):
        said = " ".join(line.strip().removeprefix("/// ") for line in comment.strip().splitlines())
        rows.append((status_of(status), code, title, said.replace("|", "\\|")))
    listed = source.partition("\ncodes! {\n")[2].partition("\n}\n")[0]
    assert len(rows) == listed.count(";") > 40
    return ["| status | code | title | when |", "| --- | --- | --- | --- |"] + [
        f"| {status} | `{code}` | {title} | {said} |" for status, code, title, said in sorted(rows)
    ]


def permissions():
    """A row for each operation of the specification."""
    rows = ["| request | permissions |", "| --- | --- |"]
    specification = yaml.safe_load((ROOT / "openapi/glacier-gateway.yaml").read_text())
    for path, operations in specification["paths"].items():
        for method, operation in operations.items():
            text = operation["description"].partition("**Permissions**: ")[2].partition("\n\n")[0]
            assert text, f"{method} {path}"
            rows.append(f"| `{method.upper()} {path}` | {' '.join(text.split())} |")
    return rows


REGISTERED = re.compile(
    r'\bregister(?:_with_unit)?\(\s*"(\w+)",\s*"((?:[^"\\]|\\.|\\\n)*)",\s*(?:Unit::(\w+),\s*)?(.*?),?\s*\);',
    re.S,
)


def metrics():
    """A row for each metric that is registered, under the name that Prometheus sees."""
    rows = []
    for path in tracked("src/metrics.rs", "src/metrics/*.rs"):
        source = path.read_text()
        found = REGISTERED.findall(source)
        assert len(found) == source.count("registry.register"), path
        for name, said, unit, value in found:
            field = re.search(r"(\w+)\.clone\(\)", value)
            kind = "Info"
            if field:
                declared = " ".join(re.findall(rf"\b{field[1]}: ([^;]*?),$", source, re.M))
                kind = re.search("Counter|Gauge|Histogram|Latencies", declared)[0]
            end = {"Counter": "_total", "Info": "_info"}.get(kind, "")
            kind = {"Latencies": "Histogram"}.get(kind, kind).lower()
            name = f"glacier_gateway_{name}{f'_{unit.lower()}' if unit else ''}{end}"
            said = re.sub(r"\\\n\s*", "", said)
            rows.append(f"| `{name}` | {kind} | {said}. |")
    assert len(rows) > 30
    return ["| metric | kind | what it says |", "| --- | --- | --- |", *sorted(rows)]


def settings():
    """A row for each setting of default.toml, with the comment above it."""
    rows = ["| setting | default | what it is |", "| --- | --- | --- |"]
    table, said = "", []
    for line in (ROOT / "config/default.toml").read_text().splitlines():
        text = line.removeprefix("# ")
        if header := re.fullmatch(r"\[([\w.-]+)\]", text):
            table, said = header[1], []
        elif setting := re.fullmatch(r'(\w+) = ([\["{\w].*)', text):
            value = f"`{setting[2]}`" if line == text else f"(`{setting[2]}`)"
            told = " ".join(said).replace("|", "\\|")
            rows.append(f"| `{table}.{setting[1]}` | {value} | {told} |")
            said = []
        elif line in ("", "#"):
            said = []
        else:
            said.append(text)
    assert len(rows) > 100
    return rows


@pytest.mark.parametrize(
    ("page", "rows"),
    [("problems", problems), ("permissions", permissions), ("metrics", metrics), ("settings", settings)],
)
def test_the_page_is_made_of_the_code(page, rows):
    path = ROOT / f"docs/{page}.md"
    before, begin, rest = path.read_text().partition("<!-- made by `make reference` -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    assert begin and end
    made = "".join((before, begin, "\n", *(f"{row}\n" for row in rows()), "\n", end, after))
    if os.environ.get("UPDATE_REFERENCE"):
        path.write_text(made)
    assert path.read_text() == made, "run `make reference`, and commit the page"


def test_every_metric_of_the_documentation_is_one_of_the_code():
    sources = "".join(path.read_text() for path in tracked("src/metrics.rs", "src/metrics/*.rs"))
    named = set(re.findall(r"`(?:glacier_gateway|…)_([a-z_]+)`", (ROOT / "docs/deploy.md").read_text()))
    assert len(named) > 30
    for name in named:
        # Of a name the library makes the end: the unit, and `_total` of a counter.
        stems = {re.sub(end, "", name) for end in ("$", "_total$", "_seconds$", "_bytes$", "_info$")}
        assert any(f'"{stem}"' in sources for stem in stems), name


def test_the_auditors_page_has_the_fields_of_the_schema():
    page = (ROOT / "docs/audit.md").read_text().partition("| field | content |")[2]
    rows = re.findall(r"^\| (`.+?`) \|", page.partition("\n\n")[0], re.M)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    schema = json.loads((ROOT / "docs/audit-record.schema.json").read_text())
    assert sorted(named) == sorted(schema["properties"])


def test_the_configurations_page_is_built_into_the_program():
    assert "default.toml" in "".join(path.read_text() for path in tracked("src/config*.rs", "src/config/*.rs"))
