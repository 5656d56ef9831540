"""A validation as text, one function per format; none prints."""

from __future__ import annotations

from collections.abc import Callable

from graphmem.validation import json, plot, text
from graphmem.validation.result import Validation

FORMATS: dict[str, Callable[[Validation], str]] = {"table": text.render, "json": json.render}
svg: Callable[[Validation], str] = plot.render
