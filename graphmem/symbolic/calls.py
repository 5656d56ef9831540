"""Calls of scaled_dot_product_attention: which of two traces correspond, and the shapes that decide on the kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sympy

from graphmem.record import SdpaCall, Trace
from graphmem.record.paths import folded
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.dims import Dims

SHAPES = ("q", "k", "v", "mask_shape")
Known = Sequence[sympy.Expr | None]
Shapes = dict[str, Known]
Sizes = Callable[[Aligned], Sequence[int] | None]


def shapes_of(base: Trace, beside: Sequence[Aligned], expressed: Callable[[Sizes], Known | None]) -> tuple[Shapes, ...]:
    """For each call in `base` the shapes of q, k, v and the mask; None for a dimension that has no expression.

    beside: traces with a symbol moved. expressed: gives the expressions of sizes that are read off all of them.
    """
    like = {id(there.trace): _counterparts(base, there) for there in (Aligned(base, None), *beside)}

    def known(index: int, name: str) -> Known:
        def shape(there: Aligned) -> Sequence[int] | None:
            call = like[id(there.trace)][index]
            return getattr(call.facts, name) if call and call.facts else None

        return expressed(shape) or [None] * len(getattr(base.sdpa[index].facts, name))

    return tuple({n: known(i, n) for n in SHAPES if call.facts} for i, call in enumerate(base.sdpa))


def filled(known: Sequence[sympy.Expr | None], traced: Sequence[int]) -> Dims:
    """A shape in which a dimension without an expression is the number that was traced."""
    return tuple(sympy.Integer(n) if d is None else d for d, n in zip(known, traced, strict=True))


def _counterparts(base: Trace, there: Aligned) -> list[SdpaCall | None]:
    """For each call of attention in `base` the one whose first operator corresponds, or else one of the same line:
    around a call a kernel may pad heads, so operators need not correspond. None where there is neither."""
    by_start = {call.start: call for call in there.trace.sdpa}
    starts = [call.start if there.pairs is None else there.pairs.get(call.start, -1) for call in base.sdpa]
    found = [by_start.get(start) for start in starts]
    return found if None not in found else [c or like for c, like in zip(found, _alike(base, there.trace), strict=True)]


def _alike(base: Trace, other: Trace) -> list[SdpaCall | None]:
    """For each call in `base` the one of the same line in `other`; None where there is none, or where one of several
    would have to stand for it that are not alike."""
    theirs = _calls(other)
    found: dict[int, SdpaCall | None] = {}
    for line, layers in _calls(base).items():
        there = theirs.get(line, {})
        for path, mine in layers.items():
            found.update(zip(map(id, mine), _like(len(mine), path, there), strict=True))
    return [found[id(call)] for call in base.sdpa]


def _like(count: int, path: str, there: dict[str, list[SdpaCall]]) -> Sequence[SdpaCall | None]:
    """So many calls of the layer at `path`, or of any layer if they are alike; or turns of a loop, if these are."""
    same = [there[path]] if len(there.get(path, ())) == count else [c for c in there.values() if len(c) == count]
    if same and all([call.facts for call in calls] == [call.facts for call in same[0]] for calls in same):
        return same[0]
    calls = [call for layer in there.values() for call in layer]
    return calls[:1] * count if len({call.facts for call in calls}) == 1 else [None] * count


def _calls(trace: Trace) -> dict[Any, dict[str, list[SdpaCall]]]:
    """By line of code, which is the same in all layers, and by the path of the layer."""
    found: dict[Any, dict[str, list[SdpaCall]]] = defaultdict(lambda: defaultdict(list))
    for call in trace.sdpa:
        op = trace.ops[call.start]
        path = trace.calls[op.call].path if op.call >= 0 else ""
        found[(folded(path, trace.containers)[0], op.place)][path].append(call)
    return found
