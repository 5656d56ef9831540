"""A report as text. One file per format; each returns a string and prints nothing."""

from __future__ import annotations

from collections.abc import Callable

from graphmem.render import json, table
from graphmem.report import Report

FORMATS: dict[str, Callable[[Report], str]] = {"table": table.render, "json": json.render}
