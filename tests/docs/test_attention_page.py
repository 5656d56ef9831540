"""docs/attention.md lists the rules as they are. `--overwrite` writes them."""

import pytest

from graphmem.attention import KINDS
from graphmem.kernels.sdpa.rules import RULES
from support.repo import ROOT

pytestmark = pytest.mark.page


PAGE = ROOT / "docs" / "attention.md"
START, END = "<!-- rules -->\n", "<!-- end of rules -->"


def table():
    lines = ["| backend | what refuses it: function in sdp_utils | since | the way out |", "| --- | --- | --- | --- |"]
    for backend, rules in RULES.items():
        for rule in rules:
            since = ".".join(map(str, rule.since)) if rule.since > (2, 5) else ""
            lines.append(f"| {backend} | `{rule.source}` | {since} | {rule.remedy} |")
    return "\n".join(lines) + "\n"


def test_the_rules_are_listed(request) -> None:
    text = PAGE.read_text()
    before, rest = text.split(START)
    shown, after = rest.split(END)
    fresh = f"\n{table()}\n"
    if request.config.getoption("--overwrite"):
        PAGE.write_text(before + START + fresh + END + after)
    else:
        assert shown == fresh, "refresh with --overwrite"


def test_every_kind_is_listed() -> None:
    text = PAGE.read_text()
    for kind in KINDS:
        assert f"`{kind.__name__.rpartition('.')[2]}.py`" in text
