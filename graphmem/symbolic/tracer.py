"""What the derivation asks of whoever traces for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from graphmem.points import Point
from graphmem.record import Trace

# The trace at a point; a GraphmemError where the model does not run there.
TraceAt = Callable[[Point], Trace]


class Tracer(Protocol):
    """Traces a model at a point. `finished`: the module exists, and is only shortened."""

    @property
    def finished(self) -> bool: ...
    def __call__(self, point: Point, /) -> Trace: ...
    def knows(self, point: Point) -> bool:
        """Whether that point was traced."""

    def limited(self, most_operators: int) -> Tracer:
        """The same, but it raises TooLongError where there are more operators."""
