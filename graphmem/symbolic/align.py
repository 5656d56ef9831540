"""Which operators of another trace correspond to those of a base trace, so that their sizes can be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphmem.saved import Kept, sort_storages
from graphmem.trace.record import Op, Ref, SdpaCall, Trace

Line = tuple[Any, ...]


@dataclass(frozen=True)
class Aligned:
    """A trace next to a base trace.

    pairs: index of an operator of the base -> index of the one that corresponds; None if all do, one to one.
    """

    trace: Trace
    pairs: Mapping[int, int] | None

    @property
    def point(self) -> dict[str, int]:
        return self.trace.point

    def op(self, index: int) -> Op | None:
        """The operator that corresponds to the base's operator `index`."""
        if self.pairs is None:
            return self.trace.ops[index]
        found = self.pairs.get(index)
        return None if found is None else self.trace.ops[found]

    def sdpa(self, call: SdpaCall) -> SdpaCall | None:
        """The call that corresponds to the base's `call`."""
        start = call.start if self.pairs is None else self.pairs.get(call.start)
        return next((c for c in self.trace.sdpa if c.start == start), None)


class Base:
    """A trace that others are aligned with."""

    def __init__(self, trace: Trace, kept: tuple[Kept, ...]) -> None:
        self.trace, self.kept = trace, kept
        self._signature = trace.signature()
        self._births = _births(trace, kept)

    def align(self, trace: Trace) -> Aligned | None:
        """`trace` aligned; None where it keeps something else.

        What must agree is what is kept, in its order: which operator made it, in which line and module call. Operators
        that leave nothing behind may come and go, such as a slice that takes all.
        """
        kept = sort_storages(trace)
        if trace.signature() == self._signature and _births(trace, kept) == self._births:
            return Aligned(trace, None)
        if [birth(k, self.trace) for k in self.kept] != [birth(k, trace) for k in kept]:
            return None
        pairs = _by_line(self.trace, trace)
        pairs.update((mine.op.index, other.op.index) for mine, other in zip(self.kept, kept, strict=True))
        return Aligned(trace, pairs)


def birth(kept: Kept, trace: Trace) -> Line:
    """Where a storage came from, but for the order of operators in its line."""
    return (kept.table, trace.storages[kept.storage].born.output, kept.made_in, kept.keepers, *line(kept.op, trace))


def line(op: Op, trace: Trace) -> Line:
    """An operator's module, name and place."""
    path = trace.calls[op.call].path if op.call >= 0 else ""
    return (path, op.name if op.kind == "call" else op.kind, op.place)


def _births(trace: Trace, kept: tuple[Kept, ...]) -> set[tuple[str, Ref]]:
    return {(k.table, trace.storages[k.storage].born) for k in kept}


def _by_line(base: Trace, other: Trace) -> dict[int, int]:
    """Operators in their order, where a line has as many in both traces."""
    there = _lines(other)
    pairs: dict[int, int] = {}
    for key, mine in _lines(base).items():
        theirs = there.get(key, [])
        if len(mine) == len(theirs):
            pairs.update(zip(mine, theirs, strict=True))
    return pairs


def _lines(trace: Trace) -> dict[Line, list[int]]:
    found: dict[Line, list[int]] = defaultdict(list)
    for op in trace.ops:
        found[line(op, trace)].append(op.index)
    return found
