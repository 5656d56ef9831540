"""What torch announces to take away is an error in an analysis, too, although an analysis silences all warnings."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Sequence
from typing import Any


class Warnings:
    """The module `warnings` for graphmem/usercode/isolate.py: what it ignores, it ignores beneath pytest's filters."""

    def __init__(self, filters: Sequence[str]) -> None:
        self._filters = [[*line.split(":"), "", "", ""][:4] for line in filters]

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    def simplefilter(self, action: Any) -> None:
        warnings.simplefilter(action)
        for how, message, category, module in self._filters:
            kind = getattr(builtins, category or "Warning")
            warnings.filterwarnings(how, message, kind, module)  # type: ignore[arg-type]
