"""The documentation leads where it says, and says of each command whether a test runs it."""

import re
import subprocess

import pytest
from conftest import ROOT, tracked

PAGES = tracked("*.md")
TEXTS = {page: page.read_text() for page in PAGES}


def prose(text):
    """A page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.M | re.S)


def anchors(page):
    """The anchors that GitHub gives a page: one for each heading, numbered if it is there twice."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(TEXTS[page]), re.M):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        number = 0
        while (name := anchor if number == 0 else f"{anchor}-{number}") in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", prose(TEXTS[page]))
    links = re.findall(r"\]\(([^()\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    links += re.findall(r"^\[[^]]+\]: (\S+)$", text, re.M)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert target in TEXTS and anchor in anchors(target), link


# A block of commands, and the line before it.
BLOCK = re.compile(r"^([^\n]*)\n *```(?:console|sh|shell|bash)\n(.*?)^ *```$", re.M | re.S)
BLOCKS = [
    pytest.param(page, *block, id=f"{page.relative_to(ROOT)}-{number}")
    for page, text in TEXTS.items()
    for number, block in enumerate(BLOCK.findall(text), 1)
]


@pytest.mark.parametrize(("page", "mark", "block"), BLOCKS)
def test_every_command_is_run_by_a_test_or_marked_as_not(page, mark, block):
    said = re.fullmatch(r" *<!-- (?:run by (?P<test>\S+)|not run: (?P<reason>.+)) -->", mark)
    assert said, (
        "say in the line before the block who runs it: `<!-- run by tests/it/dev.rs -->` or "
        "`<!-- not run: needs a cluster -->`"
    )
    if said["test"]:
        name = str(page.relative_to(ROOT))
        assert name in (ROOT / said["test"]).read_text(), f"{said['test']} does not read {name}"


@pytest.mark.parametrize(("page", "mark", "block"), BLOCKS)
def test_every_command_is_one_that_a_shell_understands(page, mark, block):
    lines, goes_on = [], False
    for line in block.splitlines():
        # With prompts, what has none is what a command says, or goes on with it.
        if "\n$ " in f"\n{block}" and not (line.startswith("$ ") or goes_on):
            continue
        lines.append(line.removeprefix("$ "))
        goes_on = line.endswith("\\") or "\n".join(lines).count('"') % 2
    script = "\n".join(lines)
    done = subprocess.run(("bash", "-n"), input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, f"{script}\n{done.stderr}"
