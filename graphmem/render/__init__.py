"""A report as text. One file per format; each returns a string and prints nothing."""

from __future__ import annotations

from collections.abc import Callable

from graphmem.render import code, json, markdown, table
from graphmem.report import ReportData

FORMATS: dict[str, Callable[[ReportData], str]] = {
    "table": table.render,
    "json": json.render,
    "markdown": markdown.render,
    "html": markdown.render_html,
    "latex": code.latex,
    "python": code.python,
}
