"""A report as plain data, for JSON. `format` is the version of this layout: it grows when a field changes its meaning
or goes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from graphmem.report.tables import (
    AttentionPart,
    AttentionRow,
    ModuleRow,
    NodeRow,
    NotCounted,
    OtherKernel,
    ReportData,
    Size,
    Verified,
)
from graphmem.symbolic.text import formula
from graphmem.version import __version__

FORMAT = 1


def as_dict(report: ReportData) -> dict[str, Any]:
    """The report as plain data. Expressions are strings that sympy reads; `formula` is the same for people."""
    return {
        "format": FORMAT,
        "graphmem": __version__,
        "name": report.name,
        "target": report.machine,
        "settings": dict(report.settings),
        "symbols": dict(report.symbols),
        "saved": _size(report.saved, report),
        "alive": _size(report.alive, report),
        "verified": _verified(report.verified),
        "limits": [asdict(limit) for limit in report.limits],
        "nodes": [_node(row, report) for row in report.nodes],
        "attention": [_attention(row, report) for row in report.attention],
        "modules": [_module(row, report) for row in report.modules],
        "not_counted": [_not_counted(row) for row in report.not_counted],
        "notes": list(report.notes),
    }


def _verified(verified: Verified) -> dict[str, Any]:
    return {
        "point": verified.point,
        "exact": verified.exact,
        "points": list(verified.points),
        "share": verified.share,
    }


def _node(row: NodeRow, report: ReportData) -> dict[str, Any]:
    return {
        "op": row.op,
        "module": row.module,
        "made_in": row.made_in,
        "count": row.count,
        "shape": list(row.shape),
        "dims": None if row.dims is None else list(row.dims),
        "dtype": row.dtype,
        "each_bytes": row.each_bytes,
        **_size(row.size, report),
        "kept_by": list(row.kept_by),
        "where": _text(row.where),
        "proved": row.proved,
    }


def _attention(row: AttentionRow, report: ReportData) -> dict[str, Any]:
    return {
        "module": row.module,
        "count": row.count,
        "kind": row.kind,
        "kernel": row.kernel,
        "why": row.why,
        "where": _text(row.where),
        **_size(row.size, report),
        "each": _text(row.each),
        "parts": [_part(part) for part in row.parts],
        "shared": [_part(part) for part in row.shared],
        "instead": None if row.instead is None else _instead(row.instead),
    }


def _part(part: AttentionPart) -> dict[str, Any]:
    return {"part": part.name, "bytes": part.size.bytes, "each": _text(part.each)}


def _instead(other: OtherKernel) -> dict[str, Any]:
    return {"kernel": other.kernel, "how": other.how, "bytes": other.bytes, "each": str(other.each)}


def _module(row: ModuleRow, report: ReportData) -> dict[str, Any]:
    return {
        "module": row.path,
        "class": row.cls,
        "count": row.count,
        "own_bytes": row.own.bytes,
        **_size(row.size, report),
        "each": _text(row.each),
    }


def _not_counted(row: NotCounted) -> dict[str, Any]:
    return {"what": row.what, "bytes": row.bytes, "expr": _text(row.expr), "why": row.why}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _size(size: Size, report: ReportData) -> dict[str, Any]:
    return {
        "bytes": size.bytes,
        "allocated_bytes": size.allocated_bytes,
        "expr": str(size.expr),
        "formula": formula(size.expr, report.symbols, report.depth),
    }
