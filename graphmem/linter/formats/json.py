"""Findings as JSON. `format` is the version of this layout, not of graphmem."""

from __future__ import annotations

import json
from typing import Any

from graphmem.linter.command import Result
from graphmem.linter.finding import Finding
from graphmem.version import __version__

FORMAT = 1


def render(result: Result) -> str:
    """The JSON text, with a newline at the end."""
    content = {
        "format": FORMAT,
        "graphmem": __version__,
        "targets": [{"name": name, "saved_bytes": saved} for name, saved in result.targets],
        "findings": [_finding(f) for f in result.findings],
        "left_out": {"suppressed": result.suppressed, "baseline": result.known, "small": result.small},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _finding(f: Finding) -> dict[str, Any]:
    return {
        "rule": f.rule.code,
        "name": f.rule.name,
        "severity": f.rule.severity,
        "target": f.target,
        "message": f.message,
        "fix": f.fix,
        "module": f.module,
        "count": f.count,
        "op": f.what,
        "where": str(f.where) if f.where else None,
        "point": dict(f.point),
        "saved_bytes": f.of,
        "bytes": f.bytes,
        "expr": str(f.expr),
        "saving_bytes": f.saving,
        "saving_expr": None if f.saving_expr is None else str(f.saving_expr),
        "measured": f.measured,
        "fingerprint": f.fingerprint,
    }
