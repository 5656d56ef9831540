"""The formats of a validation: one function per format; none prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmem.render.formats import Formats

if TYPE_CHECKING:
    from graphmem.validation.result import Validation

FORMATS: Formats[Validation] = Formats("graphmem.validation", {"table": "text:render", "json": "json:render"})
