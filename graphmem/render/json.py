"""A report as JSON; see `graphmem.report.plain` for its layout."""

from __future__ import annotations

import json

from graphmem.report import ReportData
from graphmem.report.plain import as_dict


def render(report: ReportData) -> str:
    """The JSON text, with a newline at the end."""
    return json.dumps(as_dict(report), indent=2, ensure_ascii=False) + "\n"
