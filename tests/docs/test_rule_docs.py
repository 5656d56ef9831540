"""docs/rules is made of the rules. `pytest tests/docs/test_rule_docs.py --overwrite` brings it up to date."""

import pytest

from graphmem.linter.explain import explained, index
from graphmem.linter.rule import all_rules
from support.repo import ROOT

pytestmark = pytest.mark.page


FOLDER = ROOT / "docs" / "rules"


def test_the_pages_are_current(request) -> None:
    pages = {f"{rule.code}.md": explained(rule) for rule in all_rules()} | {"README.md": index(all_rules())}
    if request.config.getoption("--overwrite"):
        FOLDER.mkdir(exist_ok=True)
        for file in FOLDER.glob("*.md"):
            file.unlink()
        for name, text in pages.items():
            (FOLDER / name).write_text(text)
    there = {file.name: file.read_text() for file in FOLDER.glob("*.md")}
    assert there == pages, "refresh with --overwrite"
