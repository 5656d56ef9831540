"""The attentions of a report: what kind, which kernel, what each keeps and why, and what it could keep instead."""

from __future__ import annotations

from collections.abc import Sequence

from graphmem.render.proof import written
from graphmem.render.text import amount, short, table, wrapped
from graphmem.report import AttentionPart, AttentionRow, ModuleRow, ReportData
from graphmem.symbolic.text import formula
from graphmem.units import human, unit_for

_INDENT = " " * 11


def attention(report: ReportData, columns: int) -> str:
    """A table of all attentions, then what there is to say about each."""
    if not report.attention:
        return "attention: none found"
    unit, size = unit_for(report.saved.bytes)
    rows = [
        [_name(a), a.count, a.kind, a.kernel, amount(a.size.bytes, size), each(a, report)] for a in report.attention
    ]
    lines = [table(["attention", "×", "kind", "kernel", unit, "each keeps"], rows, columns, right=(1, 4))]
    for row in report.attention:
        if len(report.attention) > 1:
            lines.append(f"  {_name(row)}, {row.kernel}")
        lines += _about(row, report, columns)
    return "\n".join(lines)


def each(row: ModuleRow | AttentionRow | AttentionPart, report: ReportData) -> str:
    """What one of the row's modules keeps; or all of them, where they differ or a part of it has no formula."""
    if row.each is not None and not row.size.number:
        return formula(row.each, report.symbols)
    alone = not isinstance(row, AttentionPart) and row.count == 1
    return written(row.size, report) if alone else f"together {written(row.size, report)}"


def _about(row: AttentionRow, report: ReportData, columns: int) -> list[str]:
    where = f", {short(row.where)}" if row.where else ""
    lines = wrapped(_listed(row.parts, report), columns, _INDENT, "  keeps    ")
    if row.shared:
        counted = f"{_listed(row.shared, report)}: kept by attentions above as well, and counted there"
        lines += wrapped(counted, columns, _INDENT, "  shares   ")
    lines += wrapped(f"{row.why}{where}", columns, _INDENT, "  why      ")
    other = row.instead
    if other is not None:
        keeps = f"{human(other.bytes)}, {formula(other.each, report.symbols)} each"
        lines += wrapped(f"{other.kernel} would keep {keeps}: {other.how}", columns, _INDENT, "  instead  ")
    return lines


def _listed(parts: Sequence[AttentionPart], report: ReportData) -> str:
    return ", ".join(f"{p.name} {each(p, report)}" for p in parts)


def _name(row: AttentionRow) -> str:
    return row.label or "(the model)"
