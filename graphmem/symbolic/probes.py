"""Traces at other points that correspond to a base trace operator by operator, and what is compared between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from graphmem.errors import GraphmemError
from graphmem.saved import Kept, sort_storages
from graphmem.symbolic.points import held_out, moves
from graphmem.trace.record import Ref, Trace

Point = dict[str, int]
Tracer = Callable[[Point], Trace]
# Operators that are traced to see which symbols move alone, and after that for points with all of them moved: some ten
# seconds, which only a forward with thousands of operators a layer needs (a loop over the positions, say).
EXPLORED, PROVING = 40_000, 20_000


class Probes:
    """Finds traces around `trace`.

    values: where each symbol was moved to. skipped: symbols for which there was not enough left of what may be traced.
    """

    def __init__(self, tracer: Tracer, trace: Trace, kept: tuple[Kept, ...], model_symbols: frozenset[str]) -> None:
        self._tracer, self._signature, self._born = tracer, trace.signature(), _born(trace, kept)
        self.trace, self.kept, self.base, self.model_symbols = trace, kept, dict(trace.point), model_symbols
        self.values: Point = {}
        self.skipped: list[str] = []
        self._spent, self._limit = 0, EXPLORED

    def moved(self, name: str) -> Trace | None:
        """A trace with `name` alone moved, to the first value that runs the same operators."""
        for value in moves(self.base[name], shapes_model=name in self.model_symbols):
            if not self._affordable():
                self.skipped.append(name)
                return None
            found = self._aligned({**self.base, name: value})
            if found is not None:
                self.values[name] = value
                return found
        return None

    def apart(self, moved: Point) -> Iterator[Trace]:
        """Traces with all symbols of `moved` moved, to values that no probe had."""
        self._limit = EXPLORED + PROVING
        for point in held_out(self.base, moved, self.model_symbols):
            found = self._aligned(point) if self._affordable() else None
            if found is not None:
                yield found

    def at(self, point: Point) -> Trace | None:
        """The trace at `point`; None where the model refuses it."""
        try:
            trace = self._tracer(point)
        except GraphmemError:
            self._spent += len(self.trace.ops)
            return None
        self._spent += len(trace.ops)
        return trace

    def _affordable(self) -> bool:
        return self._spent + len(self.trace.ops) <= self._limit

    def dims(self, trace: Trace, kept: Kept) -> list[int]:
        """What is fitted, in `trace`: the dimensions of the tensor that made the storage; or the storage's bytes where
        the two do not agree (a padded or an overlapping layout)."""
        born = self.trace.storages[kept.storage].born
        fact = trace.ops[born.op].outputs[born.output]
        assert fact is not None
        return list(fact.shape) if is_dense(kept) else [trace.storages[fact.storage].nbytes]

    def moves_something(self, trace: Trace) -> bool:
        """Whether any size in `trace` differs from the base's."""
        return any(self.dims(trace, k) != self.dims(self.trace, k) for k in self.kept)

    def _aligned(self, point: Point) -> Trace | None:
        trace = self.at(point)
        if trace is None or trace.signature() != self._signature:
            return None
        return trace if _born(trace, sort_storages(trace)) == self._born else None


def is_dense(kept: Kept) -> bool:
    """Whether the storage is exactly as large as the tensor that made it."""
    return math.prod(kept.shape) * kept.itemsize == kept.nbytes


def _born(trace: Trace, kept: tuple[Kept, ...]) -> set[tuple[str, Ref]]:
    return {(k.table, trace.storages[k.storage].born) for k in kept}
