"""What every format says of a formula and its proof."""

from __future__ import annotations

import sympy

from graphmem.points import Point, as_text
from graphmem.report import Missed, NodeRow, ReportData, Size
from graphmem.symbolic.text import formula
from graphmem.units import human

# So many operators without a formula are named.
_NAMED = 3
_TRACED = "the bytes at this point come from a trace, not from a formula"


def proof(report: ReportData) -> str:
    """Whether the formula is proved, and where; or what is not, why, and what stands all the same."""
    verified = report.verified
    if not report.symbols:
        return "no formula: no size could be varied"
    if verified.point is None:
        return f"not proved: no other point could be traced; {_TRACED}"
    if verified.exact:
        more = len(verified.points) - 1
        also = f" and at {more} more point{'s' if more > 1 else ''}" if more else ""
        return f"proved: 0 bytes off at {_at(verified.point, report)}{also}"
    missing = [n for n in report.nodes if not n.proved]
    if missing:
        why = _without(missing, report)
    elif verified.missed is not None:
        why = _missed(verified.missed, report)
    elif report.alive.number:
        why = "what is alive beside it has a size without a formula"
    else:
        why = "the model did not run at one of the points where the formula was to be checked"
    return f"NOT PROVED: {why}; {_TRACED}"


def summed(size: Size, report: ReportData) -> str:
    """The formula of a sum, and for which values alone it is: its numbers may depend on those."""
    fixed = as_text(report.fixed, ", ")
    return written(size, report) + (f", for {fixed} only" if fixed and report.symbols else "")


def written(size: Size, report: ReportData) -> str:
    """The formula of `size`; what has none is a term in words."""
    if size.number_expr is None:
        return formula(size.expr, report.symbols, report.depth)
    number = f"{size.number:,} at this point, no formula"
    rest = sympy.expand(size.expr - size.number_expr)
    return f"({number})" if rest == 0 else f"{formula(rest, report.symbols, report.depth)} + ({number})"


def of_one(node: NodeRow, report: ReportData) -> str:
    """The formula of one of a row's tensors."""
    return formula(node.each_expr, report.symbols) if node.proved else "no formula"


def _at(point: Point, report: ReportData) -> str:
    return as_text({n: point[n] for n in report.symbols})


def _without(missing: list[NodeRow], report: ReportData) -> str:
    """What has no formula, and why."""
    nbytes = sum(n.size.bytes for n in missing)
    names = list(dict.fromkeys(_name(n) for n in missing))
    more = len(names) - _NAMED
    named = ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    rest = report.saved.bytes - nbytes
    others = f"; the other {human(rest)} have one" if rest else ""
    return f"{human(nbytes)} have no formula ({named}), since no form that was tried gives all traced sizes{others}"


def _name(node: NodeRow) -> str:
    op = node.op.removeprefix("aten.").rsplit(".", 1)[0].lstrip("_")
    return f"{op} in {node.made_in or 'the model'}"


def _missed(missed: Missed, report: ReportData) -> str:
    """Where the formula failed, with both numbers."""
    at = _at(missed.point, report)
    if missed.foretold is None:
        return f"at {at} forward keeps {missed.kept:,} bytes {missed.what}, and the formula gives no whole number"
    if missed.foretold == missed.kept:
        return f"at {at} forward keeps {missed.kept:,} bytes {missed.what} as the formula says, but in other tensors"
    return f"at {at} forward keeps {missed.kept:,} bytes {missed.what}, and the formula gives {missed.foretold:,}"
