"""How a finding's numbers are put into words, the same in all formats."""

from __future__ import annotations

import sympy

from graphmem.linter.command import Result
from graphmem.linter.finding import Finding
from graphmem.points import as_text
from graphmem.symbolic.text import formula
from graphmem.units import human


def headline(finding: Finding) -> str:
    """The message, with the module where there is one."""
    where = f" in {finding.label}" if finding.module else ""
    times = f" (× {finding.count})" if finding.count > 1 else ""
    return f"{finding.message}{where}{times}"


def stake(finding: Finding) -> str:
    """What it is about, in bytes; empty for findings about no bytes."""
    if not finding.bytes:
        return ""
    return f"{human(finding.bytes)}, {_share(finding.bytes, finding)}: {_formula(finding.expr, finding)}"


def saving(finding: Finding) -> str:
    """What the fix saves; empty where nothing is promised."""
    if finding.saving is None or finding.saving_expr is None:
        return ""
    how = "measured on this model" if finding.measured else "from the formula"
    return (
        f"{human(finding.saving)}, {_share(finding.saving, finding)}: {_formula(finding.saving_expr, finding)} ({how})"
    )


def sentence(finding: Finding) -> str:
    """All of it in one line."""
    parts = [headline(finding)]
    if finding.bytes:
        parts.append(f"{human(finding.bytes)}, {_share(finding.bytes, finding)} of what is saved")
    parts.append(finding.fix)
    if finding.saving is not None:
        parts.append(f"saves {human(finding.saving)}")
    return "; ".join(parts)


def summary(result: Result) -> str:
    """How many there are, what they would save, and what was left out."""
    n = len(result.findings)
    left = [f"{k} {what}" for k, what in (
        (result.suppressed, "silenced by comments"), (result.known, "in the baseline"), (result.small, "too small"),
    ) if k]  # fmt: skip
    counted = "no findings" if not n else "1 finding" if n == 1 else f"{n} findings"
    names = ", ".join(f"{name} ({human(saved)} saved for backward)" for name, saved in result.targets)
    asked = ", ".join(as_text(point) for point in result.points)
    at = f", judged at {asked}" if asked else ""
    return f"{counted} in {names}{at}" + (f"; not shown: {', '.join(left)}" if left else "")


def _share(nbytes: int, finding: Finding) -> str:
    return f"{100 * nbytes / finding.of:.1f} %" if finding.of else "0 %"


def _formula(expr: sympy.Expr, finding: Finding) -> str:
    return formula(expr, finding.point, finding.depth)
