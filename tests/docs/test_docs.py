"""What README and docs show is what comes out. `pytest tests/docs/test_docs.py --overwrite` brings them up to date."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from graphmem.cli import main
from support.repo import ROOT
from support.slow import one_of

pytestmark = pytest.mark.page


BLOCK = re.compile(r"(<!-- output: graphmem (.+?) -->\n```\n)(.*?)(```)", re.DOTALL)
PAGES = [
    page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if BLOCK.search(page.read_text())
]


@pytest.mark.parametrize("page", one_of(["validate.md"], PAGES, lambda page: page.name), ids=lambda page: page.name)
def test_shown_output_is_current(page, request, capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")

    def current(block):
        if block[2].startswith("validate") and not torch.__version__.startswith("2.13."):
            return block[0]  # a real run says which torch it ran on
        assert main(shlex.split(block[2])) == (1 if block[2].startswith("lint ") else 0)  # lint has something to show
        return block[1] + capsys.readouterr().out + block[4]

    text = page.read_text()
    fresh = BLOCK.sub(current, text)
    if request.config.getoption("--overwrite"):
        page.write_text(fresh)
    else:
        assert fresh == text, "refresh with --overwrite"


def test_the_two_commands_of_the_readme_are_marked() -> None:
    text = (ROOT / "README.md").read_text()
    for mark, program in (("main", "graphmem analyze"), ("tests", "pytest")):
        command = text.split(f"<!-- run:{mark} -->\n```sh\n")[1].split("\n")[0]
        assert program in command


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them: small letters, a - for each space, no other signs."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if "://" in link:
                continue
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"
