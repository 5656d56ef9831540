"""`Single`: a trace with one layer of each kind in place of one with several, since layers are alike.

With it, moving a symbol costs fewer operators. Every operator of the larger trace has a counterpart in it, by module,
line and order, with the same sizes. A formula found this way is taken only if it is proved, also with more layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from graphmem.record import Op, Trace
from graphmem.record.paths import folded
from graphmem.symbolic.align import Aligned, Base, Line
from graphmem.symbolic.tracer import TraceAt

# A forward with more operators is not tried with one layer first: if that proves nothing, too much time is lost.
_MOST = 2000


class MoreLayersNeededError(Exception):
    """One layer of each kind does not show what is needed."""


@dataclass(frozen=True)
class Single:
    """A trace with one layer of each kind, in place of a `whole` trace with several.

    pairs: index of an operator of the whole trace -> index of its counterpart here.
    """

    base: Base
    pairs: Mapping[int, int]

    @classmethod
    def of(cls, whole: Base, trace: Trace) -> Single | None:
        """`trace` in place of `whole`; None where something that is kept has no counterpart that is kept."""
        like = _by_line(trace)
        pairs: dict[int, int] = {}
        for line, ops in _by_line(whole.trace).items():
            there = like.get(line, [])
            for i, op in enumerate(ops if there else ()):
                twin = there[i % len(there)]
                if _sizes(op, whole.trace) == _sizes(twin, trace):
                    pairs[op.index] = twin.index
        base = Base(trace, whole.account)
        kept = {k.op.index for k in base.kept}
        return cls(base, pairs) if all(pairs.get(k.op.index) in kept for k in whole.kept) else None

    def align(self, trace: Trace, *, loops: bool = False) -> Aligned | None:
        """`trace`, which has one layer of each kind, aligned with the whole trace; None where it keeps something
        else."""
        found = self.base.align(trace, loops=loops)
        if found is None or found.pairs is None:
            return found and Aligned(trace, self.pairs)
        return Aligned(trace, {i: found.pairs[j] for i, j in self.pairs.items() if j in found.pairs})


def single_of(tracer: TraceAt, whole: Base, layers: Mapping[str, int]) -> Single | None:
    """A trace with as many layers as `layers` says, in place of `whole`; None where that lacks something that is kept,
    where there are no layers, or where trying it would cost too much."""
    if not layers or len(whole.trace.ops) > _MOST:
        return None
    return Single.of(whole, tracer({**whole.trace.point, **layers}))


def _by_line(trace: Trace) -> dict[Line, list[Op]]:
    """Operators in their order, by module (without layer numbers) and line."""
    found: dict[Line, list[Op]] = defaultdict(list)
    for op in trace.ops:
        path = trace.calls[op.call].path if op.call >= 0 else ""
        name = op.name if op.kind == "call" else folded(op.name, trace.containers)[0]
        found[folded(path, trace.containers)[0], name, op.place].append(op)
    return dict(found)


def _sizes(op: Op, trace: Trace) -> list[tuple[tuple[int, ...], int] | None]:
    return [(fact.shape, trace.storages[fact.storage].nbytes) if fact else None for fact in op.outputs]
