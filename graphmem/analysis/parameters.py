"""Bytes of the weights at any point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphmem.analysis.tracer import Tracer
from graphmem.memo import Memo
from graphmem.points import Point
from graphmem.usercode.isolate import isolated


@dataclass(frozen=True)
class Parameters:
    """Bytes of the weights at a point. Layers that are alike have equally many, so few of them are built."""

    tracer: Tracer
    base: Point
    periods: Mapping[str, int]
    _known: Memo[int] = field(default_factory=Memo)

    def __call__(self, point: Point) -> int:
        point = self.tracer.subject.room.at(point)
        few = {n: self.base[n] if n in self.periods else v for n, v in point.items()}
        built = self._built(few)
        rounds = {d: (point[d] - few[d]) // period for d, period in self.periods.items() if point[d] != few[d]}
        added = {d: self._built({**few, d: few[d] + self.periods[d]}) - built for d in rounds}
        return built + sum(added[d] * n for d, n in rounds.items())

    def _built(self, point: Point) -> int:
        model = self.tracer.subject.model_symbols
        return self._known.at({n: v for n, v in point.items() if n in model}, lambda: self._bytes(point))

    def _bytes(self, point: Point) -> int:
        with isolated():
            return self.tracer.parameter_bytes(point)
