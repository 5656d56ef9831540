"""A report as plain data, for JSON. `format` is the version of this layout: it grows when a field changes its meaning
or goes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from graphmem.report.tables import AttentionPart, ReportData, Size
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
        "verified": {
            "point": report.verified.point,
            "exact": report.verified.exact,
            "points": list(report.verified.points),
            "share": report.verified.share,
        },
        "limits": [asdict(limit) for limit in report.limits],
        "nodes": [
            {
                "op": n.op,
                "module": n.module,
                "made_in": n.made_in,
                "count": n.count,
                "shape": list(n.shape),
                "dims": list(n.dims) if n.dims is not None else None,
                "dtype": n.dtype,
                "each_bytes": n.each_bytes,
                **_size(n.size, report),
                "kept_by": list(n.kept_by),
                "where": str(n.where) if n.where else None,
                "proved": n.proved,
            }
            for n in report.nodes
        ],
        "attention": [
            {
                "module": a.module,
                "count": a.count,
                "kind": a.kind,
                "kernel": a.kernel,
                "why": a.why,
                "where": str(a.where) if a.where else None,
                **_size(a.size, report),
                "each": str(a.each) if a.each is not None else None,
                "parts": [_part(p) for p in a.parts],
                "shared": [_part(p) for p in a.shared],
                "instead": a.instead
                and {
                    "kernel": a.instead.kernel,
                    "how": a.instead.how,
                    "bytes": a.instead.bytes,
                    "each": str(a.instead.each),
                },
            }
            for a in report.attention
        ],
        "modules": [
            {
                "module": m.path,
                "class": m.cls,
                "count": m.count,
                "own_bytes": m.own.bytes,
                **_size(m.size, report),
                "each": str(m.each) if m.each is not None else None,
            }
            for m in report.modules
        ],
        "not_counted": [
            {"what": n.what, "bytes": n.bytes, "expr": None if n.expr is None else str(n.expr), "why": n.why}
            for n in report.not_counted
        ],
        "notes": list(report.notes),
    }


def _part(part: AttentionPart) -> dict[str, Any]:
    return {"part": part.name, "bytes": part.size.bytes, "each": str(part.each) if part.each is not None else None}


def _size(size: Size, report: ReportData) -> dict[str, Any]:
    return {
        "bytes": size.bytes,
        "allocated_bytes": size.allocated_bytes,
        "expr": str(size.expr),
        "formula": formula(size.expr, report.symbols, report.depth),
    }
