"""Findings for a terminal."""

from __future__ import annotations

import shutil

from graphmem.escapes import one_line
from graphmem.linter.command import Result
from graphmem.linter.finding import Finding
from graphmem.linter.formats.words import headline, saving, stake, summary
from graphmem.points import as_text
from graphmem.render.text import wrapped

NARROWEST, WIDEST = 80, 160


def render(result: Result) -> str:
    """Each finding with what it is about, the fix and the saving; a summary below."""
    columns = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((NARROWEST, 24)).columns))
    blocks = ["\n".join(_finding(f, columns)) for f in result.findings]
    return "\n\n".join([*blocks, "\n".join(wrapped(summary(result), columns, ""))]) + "\n"


def _finding(finding: Finding, columns: int) -> list[str]:
    rule, where = finding.rule, finding.where or finding.target
    lines = [f"{one_line(where)}: {rule.severity} {rule.code} {rule.name}"]
    lines += wrapped(headline(finding), columns, "  ")
    for label, text in (
        ("bytes", stake(finding)),
        ("fix", finding.fix),
        ("saves", saving(finding)),
        ("at", as_text(finding.point)),
    ):
        if text:
            lines += wrapped(text, columns, " " * 9, f"  {label:<7}")
    return lines
