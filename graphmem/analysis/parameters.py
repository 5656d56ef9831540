"""Bytes of the weights at any point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphmem.analysis.tracer import Tracer
from graphmem.usercode.isolate import isolated


@dataclass(frozen=True)
class Parameters:
    """Bytes of the weights at a point. Layers that are alike have as many each: few of them are built."""

    tracer: Tracer
    base: dict[str, int]
    periods: dict[str, int]
    _known: dict[tuple[tuple[str, int], ...], int] = field(default_factory=dict)

    def __call__(self, point: Mapping[str, int]) -> int:
        few = {n: self.base[n] if n in self.periods else v for n, v in point.items()}
        built = self._built(few)
        rounds = {d: (point[d] - few[d]) // period for d, period in self.periods.items() if point[d] != few[d]}
        added = {d: self._built({**few, d: few[d] + self.periods[d]}) - built for d in rounds}
        return built + sum(added[d] * n for d, n in rounds.items())

    def _built(self, point: Mapping[str, int]) -> int:
        model = self.tracer.subject.model_symbols
        key = tuple(sorted((n, v) for n, v in point.items() if n in model))
        if key not in self._known:
            with isolated():
                self._known[key] = self.tracer.parameter_bytes(point)
        return self._known[key]
