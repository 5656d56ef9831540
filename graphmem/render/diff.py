"""A comparison of two reports for a terminal."""

from __future__ import annotations

import json

from graphmem.escapes import one_line
from graphmem.points import as_text
from graphmem.render.text import amount, table, wrapped
from graphmem.report.diff import Diff, Difference
from graphmem.symbolic.text import formula
from graphmem.units import human, unit_for

LARGEST = 15


def render(diff: Diff, columns: int = 100) -> str:
    """Totals, the difference as a formula, the modules that changed most, and attentions that run another kernel."""
    lines = [f"a  {_name(diff.before)}", f"b  {_name(diff.after)}", ""]
    for label, one in (("saved for backward ", diff.saved), ("alive after forward", diff.alive)):
        lines.append(f"{label}  {human(one.before)} -> {human(one.after)}  ({_signed(one)})")
    if diff.expr is not None:
        point = diff.after["symbols"]
        lines += wrapped(f"b - a = {formula(diff.expr, point)}", columns, " " * 21)
    else:
        names = ["a: " + ", ".join(diff.before["symbols"]), "b: " + ", ".join(diff.after["symbols"])]
        lines += wrapped(f"no formula of the difference: the symbols differ ({'; '.join(names)})", columns, " " * 21)
    if diff.modules:
        lines += ["", _modules(diff, columns)]
    for module, before, after in diff.attention:
        lines += wrapped(f"attention {module or '(the model)'}: {before} -> {after}", columns, "  ", "")
    return "\n".join(lines) + "\n"


def as_json(diff: Diff) -> str:
    """The same as JSON: `format` 1, bytes, expressions as text that sympy reads."""
    data = {
        "format": 1,
        "a": {"name": diff.before["name"], "symbols": diff.before["symbols"], "saved": diff.saved.before},
        "b": {"name": diff.after["name"], "symbols": diff.after["symbols"], "saved": diff.saved.after},
        "saved": diff.saved.more,
        "alive": diff.alive.more,
        "expr": None if diff.expr is None else str(diff.expr),
        "modules": [{"module": c.what, "a": c.before, "b": c.after} for c in diff.modules],
        "attention": [{"module": m, "a": before, "b": after} for m, before, after in diff.attention],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _modules(diff: Diff, columns: int) -> str:
    unit, size = unit_for(max(abs(c.more) for c in diff.modules))
    rows = [
        [c.what or "(the model)", amount(c.before, size), amount(c.after, size), f"{c.more / size:+.2f}"]
        for c in diff.modules[:LARGEST]
    ]
    text = table(["module, without its children", f"a {unit}", f"b {unit}", "b - a"], rows, columns, right=(1, 2, 3))
    rest = len(diff.modules) - LARGEST
    return text + (f"\nand {rest} more" if rest > 0 else "")


def _name(side: object) -> str:
    assert isinstance(side, dict)
    settings = [f"{k} {v}" for k, v in side["settings"].items()]
    return one_line("  ·  ".join([side["name"], f"as on {side['target']}", *settings, as_text(side["symbols"])]))


def _signed(one: Difference) -> str:
    percent = f", {100 * one.more / one.before:+.1f} %" if one.before else ""
    sign = "+" if one.more >= 0 else "-"
    return f"{sign}{human(abs(one.more))}{percent}"
