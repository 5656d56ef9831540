"""Traces beside a base trace: which operators correspond to which, so that their sizes can be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphmem.accounts.account import Account, Kept
from graphmem.points import Point
from graphmem.record import Op, Ref, Trace
from graphmem.record.paths import folded

Line = tuple[Any, ...]


@dataclass(frozen=True)
class Aligned:
    """A trace beside a base trace.

    pairs: index of an operator of the base -> index of its counterpart; None if all correspond, in their order.
    """

    trace: Trace
    pairs: Mapping[int, int] | None

    @property
    def point(self) -> Point:
        return self.trace.point

    def op(self, index: int) -> Op | None:
        """The operator that corresponds to the base's operator `index`."""
        if self.pairs is None:
            return self.trace.ops[index]
        found = self.pairs.get(index)
        return None if found is None else self.trace.ops[found]


def sizes_of(kept: Kept, trace: Trace, there: Aligned) -> list[int]:
    """What needs expressions of `kept` in `trace`, in its counterpart `there`: the dimensions of the tensor that made
    the storage; or the storage's bytes, where the tensor does not fill it (a padded layout) or overlaps in it."""
    op = there.op(kept.op.index)
    assert op is not None, "what is kept corresponds"
    fact = op.outputs[trace.storages[kept.storage].born.output]
    assert fact is not None
    return list(fact.shape) if kept.is_dense else [there.trace.storages[fact.storage].nbytes]


class Base:
    """A trace that others are aligned with. kept: what `account` counts in it; lines: the same, by line of code."""

    def __init__(self, trace: Trace, account: Account) -> None:
        self.trace, self.account, self.kept = trace, account, account(trace)
        self.lines = by_line(trace, self.kept)
        self._signature = trace.signature()
        self._births = _births(trace, self.kept)

    def align(self, trace: Trace, *, loops: bool = False) -> Aligned | None:
        """`trace` aligned with this one; None where it keeps something else.

        What is kept must agree, in its order: which operator made it, in which line and module call. Operators that
        leave nothing behind may come and go, such as a slice that takes everything. With `loops` a line may also run
        more or less often; then one of its turns stands for all.
        """
        kept = self.account(trace)
        if trace.signature() == self._signature and _births(trace, kept) == self._births:
            return Aligned(trace, None)
        if [_birth(k, self.trace) for k in self.kept] == [_birth(k, trace) for k in kept]:
            found = zip(self.kept, kept, strict=True)
            return Aligned(trace, _same_lines(self.trace, trace) | {m.op.index: o.op.index for m, o in found})
        turns = turns_of(self.lines, by_line(trace, kept)) if loops else None
        if turns is None:
            return None
        pairs = _same_lines(self.trace, trace)
        for mine, theirs in turns.values():
            representing = theirs if len(theirs) == len(mine) else theirs[:1] * len(mine)
            pairs.update((m.op.index, o.op.index) for m, o in zip(mine, representing, strict=True))
        return Aligned(trace, pairs)


Turns = dict[tuple[Line, int], tuple[list[Kept], list[Kept]]]


def by_line(trace: Trace, kept: Sequence[Kept]) -> dict[Line, list[Kept]]:
    """Storages by the line that made them; a line is the same in all layers."""
    lines: dict[Line, list[Kept]] = defaultdict(list)
    for one in kept:
        lines[_loop_line(one, trace)].append(one)
    return dict(lines)


def turns_of(base: Mapping[Line, list[Kept]], other: Mapping[Line, list[Kept]]) -> Turns | None:
    """What each line makes in `base` and in `other`. Where the numbers differ, it is split by shape, in the order in
    which the shapes come up. None where a line or a shape has no counterpart."""
    if base.keys() != other.keys():
        return None
    turns: Turns = {}
    for line, mine in base.items():
        theirs = other[line]
        if len(mine) == len(theirs):
            turns[line, 0] = mine, theirs
            continue
        shapes, there = by_shape(mine), by_shape(theirs)
        if len(shapes) != len(there):
            return None
        turns.update({(line, i): pair for i, pair in enumerate(zip(shapes, there, strict=True))})
    return turns


def by_shape(kept: Sequence[Kept]) -> list[list[Kept]]:
    """What a line makes, split by shape, in the order in which the shapes come up."""
    shapes: dict[tuple[int, ...], list[Kept]] = defaultdict(list)
    for one in kept:
        shapes[one.shape].append(one)
    return list(shapes.values())


def _loop_line(kept: Kept, trace: Trace) -> Line:
    path = trace.calls[kept.op.call].path if kept.op.call >= 0 else ""
    born, keepers = trace.storages[kept.storage].born.output, tuple(sorted(set(kept.keepers)))
    modules = (folded(p, trace.containers)[0] for p in (path, kept.module))
    return (kept.table, *modules, _name(kept.op), born, kept.op.place, keepers)


def _birth(kept: Kept, trace: Trace) -> Line:
    """Where a storage came from, without the order of the operators in its line."""
    return (kept.table, trace.storages[kept.storage].born.output, kept.module, kept.keepers, *_line(kept.op, trace))


def _line(op: Op, trace: Trace) -> Line:
    return (trace.calls[op.call].path if op.call >= 0 else "", _name(op), op.place)


def _name(op: Op) -> str:
    """What runs. The name of a placeholder has a number in it, so its kind stands for it."""
    return op.name if op.kind == "call" else op.kind


def _births(trace: Trace, kept: tuple[Kept, ...]) -> set[tuple[str, Ref]]:
    return {(k.table, trace.storages[k.storage].born) for k in kept}


def _same_lines(base: Trace, other: Trace) -> dict[int, int]:
    """Pairs of operators, in their order, for the lines that have equally many in both traces."""
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
        found[_line(op, trace)].append(op.index)
    return found
