"""From traces at chosen points to an expression for every storage that is alive, and a proof.

base        the working point, with as few layers as show how they repeat
deeper      one layer more, per depth symbol: what repeats
moved       one symbol moved: exponents and sums, from shapes that correspond operator by operator
check       all symbols moved: tells apart what fits `moved` equally well; only where something does
held out    all symbols moved again, thrice, once with more layers: every size must come out to the byte
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import sympy

from graphmem.errors import GraphmemError
from graphmem.saved import Kept, sort_storages
from graphmem.symbolic.align import Aligned, Base
from graphmem.symbolic.depth import SHALLOW
from graphmem.symbolic.dims import Dims, agreeing, dims_of, fitting, shared
from graphmem.symbolic.fit import evaluate, symbol
from graphmem.symbolic.group import Count, Key, Step
from graphmem.symbolic.loops import Loop, Looped
from graphmem.symbolic.probes import Point, Probes, Tracer, is_dense
from graphmem.symbolic.single import MoreLayersNeededError, Single
from graphmem.trace.record import Ref, SdpaCall, Trace


@dataclass(frozen=True)
class Group:
    """Storages alike but for their layer.

    dims: expressions whose product, times `itemsize`, is one storage's bytes; None where none was proved.
    """

    key: Key
    members: tuple[Kept, ...]
    count: Count
    dims: Dims | None = None

    @property
    def itemsize(self) -> int:
        return self.members[0].itemsize if self.dense else 1

    @property
    def dense(self) -> bool:
        """`dims` are the dimensions of the tensor; otherwise they are a single number of bytes."""
        return is_dense(self.members[0])

    @cached_property
    def size(self) -> sympy.Expr:
        """One storage's bytes: an expression, or the number that was traced."""
        if self.dims is None:
            return sympy.Integer(self.key.nbytes)
        return sympy.expand(sympy.Mul(*self.dims) * self.itemsize)

    def share(self, members: int) -> Group | None:
        """The group with so many of its members at the base point, and as many of what every further layer adds; None
        where that is no whole number."""
        of = len(self.members)
        if any(slope * members % of for _, slope in self.count.slopes):
            return None
        slopes = tuple((steps, slope * members // of) for steps, slope in self.count.slopes)
        return replace(self, count=Count(members, slopes))

    def bytes_at(self, point: Mapping[str, int]) -> int | None:
        """One storage's bytes at `point`; None where the expression gives no whole number of bytes there."""
        return evaluate(self.size, point)


@dataclass(frozen=True)
class Derivation:
    """Everything the report is made of.

    base: the traced point; depth: its symbols that count layers; loops: those that count turns of loops; symbols: those
    that move a size, depth included.
    refused: integers whose other values run other operators, or none at all: the formula is for their base value.
    skipped: those of them that were not tried, since tracing forward often enough would take too long.
    doubtful: symbols some values of which run other operators.
    follows: integers that have no other values of their own, and those that they go with, in proportion.
    proofs: the held-out points; none where none could be traced. exact: every size there came out to the byte.
    moved: a trace for every symbol in `symbols` but depth, with that alone moved to `values`; apart: traces with all of
    them moved. model_symbols: those that shape the model, and not only its inputs.
    """

    base: Point
    trace: Trace
    deeper: Mapping[str, Trace]
    loops: Mapping[str, Loop]
    kept: tuple[Kept, ...]
    groups: tuple[Group, ...]
    depth: tuple[str, ...]
    symbols: tuple[str, ...]
    refused: tuple[str, ...]
    skipped: tuple[str, ...]
    doubtful: tuple[str, ...]
    follows: Mapping[str, tuple[str, ...]]
    proofs: tuple[Point, ...]
    exact: bool
    moved: Mapping[str, Aligned]
    values: Point
    apart: tuple[Aligned, ...]
    model_symbols: frozenset[str]

    @cached_property
    def group_of(self) -> dict[int, Group]:
        """The group of each storage of the base."""
        return {member.storage: group for group in self.groups for member in group.members}

    @cached_property
    def attentions(self) -> tuple[tuple[SdpaCall, tuple[Dims, ...]], ...]:
        """Calls of scaled_dot_product_attention, with the shapes of q, k, v and the mask as expressions."""
        return tuple(
            (call, tuple(self._shape_in_call(i, name) for name in ("q", "k", "v", "mask_shape")) if call.facts else ())
            for i, call in enumerate(self.trace.sdpa)
        )

    def _shape_in_call(self, index: int, name: str) -> Dims:
        """A dimension without an expression is the number that was traced."""
        call = self.trace.sdpa[index]
        traced: tuple[int, ...] = getattr(call.facts, name)
        fitted = self._fitted(lambda there: getattr(getattr(there.sdpa(call), "facts", None), name, None))
        return tuple(sympy.Integer(n) if d is None else d for d, n in zip(fitted or traced, traced, strict=True))

    def shape(self, ref: Ref) -> Dims | None:
        """The shape of a tensor as expressions; None where it is no tensor, or a dimension has none."""

        def of(there: Aligned) -> Sequence[int] | None:
            op = there.op(ref.op)
            fact = op.outputs[ref.output] if op else None
            return fact.shape if fact else None

        fitted = self._fitted(of)
        return None if fitted is None or None in fitted else tuple(fitted)

    def _fitted(self, sizes: Callable[[Aligned], Sequence[int] | None]) -> list[sympy.Expr | None] | None:
        """For each size that is read off a trace the first expression that gives it in every trace; None where it has
        not as many sizes in all of them."""
        at_base = sizes(Aligned(self.trace, None))
        at_moved = {name: found for name, there in self.moved.items() if (found := sizes(there)) is not None}
        seen = [(there.point, found) for there in self.apart if (found := sizes(there)) is not None]
        everywhere = [*at_moved.values(), *(found for _, found in seen)]
        whole = len(everywhere) == len(self.moved) + len(self.apart)
        if at_base is None or not whole or any(len(found) != len(at_base) for found in everywhere):
            return None
        return agreeing(fitting(self.base, self.values, at_base, at_moved), seen)

    def following(self, name: str) -> sympy.Expr:
        """What a symbol that follows others is, as an expression in them: a, or a h_a."""
        leaders = self.follows[name]
        factor = sympy.Rational(self.base[name], math.prod(self.base[leader] for leader in leaders))
        return sympy.Mul(factor, *(symbol(leader) for leader in leaders))

    def holds(self, trace: Trace) -> bool:
        """Whether the formulas foretell exactly what is alive in `trace`: every storage, to the byte."""
        foretold: Counter[int] = Counter()
        for group in self.groups:
            foretold[group.bytes_at(trace.point) or -1] += group.count.at(trace.point)
        return +foretold == Counter(k.nbytes for k in sort_storages(trace))


def derive(tracer: Tracer, working: Point, model_symbols: frozenset[str], depth: list[str]) -> Derivation | None:
    """Trace what is needed around `working` and derive. None where `depth` does not repeat layers that are alike."""
    base = {**working, **dict.fromkeys(depth, SHALLOW)}
    trace = tracer(base)
    deeper = {d: tracer({**base, d: SHALLOW + 1}) for d in depth}
    start = Base(trace, sort_storages(trace))
    try:
        single = _single(tracer, start, depth)
        derived = _derive(tracer, working, model_symbols, start, deeper, single) if single else None
        if derived and single and derived.holds(single.base.trace) and _tells(tracer, derived):
            return derived
    except (MoreLayersNeededError, GraphmemError):
        pass
    return _derive(tracer, working, model_symbols, start, deeper)


def _single(tracer: Tracer, start: Base, depth: list[str]) -> Single | None:
    if not depth or len(start.trace.ops) > MOST_TWICE:
        return None
    return Single.of(start, tracer({**start.trace.point, **dict.fromkeys(depth, 1)}))


def _tells(tracer: Tracer, derived: Derivation) -> bool:
    """Whether more layers would tell no more: the formula is proved, or wrong for many layers where it is right for
    two."""
    if derived.exact or not derived.proofs or any(g.dims is None for g in derived.groups):
        return derived.exact
    return derived.holds(tracer({**derived.proofs[0], **dict.fromkeys(derived.depth, SHALLOW)}))


def _derive(
    tracer: Tracer,
    working: Point,
    model_symbols: frozenset[str],
    start: Base,
    deeper: Mapping[str, Trace],
    single: Single | None = None,
) -> Derivation | None:
    trace, base, depth = start.trace, start.trace.point, list(deeper)
    looped = Looped(start, {})
    how_often = looped.counts(deeper)
    if how_often is None:
        return None
    probes = Probes(tracer, start, model_symbols, single)
    names = [n for n, v in base.items() if n not in depth and v > 0]
    moved = {n: t for n in names if (t := probes.moved(n)) is not None}
    moved |= _together(probes, [n for n in names if n not in moved and n in model_symbols and n not in probes.skipped])
    moving = {n: t for n, t in moved.items() if n in probes.steps or probes.moves_something(t)}
    apart = probes.apart({n: v for n, v in probes.values.items() if n in moving})
    dims, seen = dims_of(probes, moving, apart)
    loops = {n: _loop(tracer, step, turned, depth) for n, (step, turned) in probes.steps.items()}
    if loops:
        looped = Looped(start, loops)
        how_often = looped.counts(deeper)
        if how_often is None:
            return None
    groups = tuple(Group(key, tuple(m), how_often[key], shared(dims, m)) for key, m in looped.members.items())
    repeating = {step.name for count in how_often.values() for steps, _ in count.slopes for step in steps}
    derived = Derivation(
        base=base,
        trace=trace,
        deeper=deeper,
        loops=loops,
        kept=start.kept,
        groups=groups,
        depth=tuple(depth),
        symbols=tuple(n for n in working if n in moving or n in repeating),
        refused=tuple(n for n in names if n not in moved and n not in probes.follows),
        doubtful=tuple(dict.fromkeys(probes.doubtful)),
        follows={name: tuple(leaders) for name, leaders in probes.follows.items()},
        proofs=() if moving or probes.skipped else (dict(base),),
        skipped=tuple(probes.skipped),
        exact=False,
        moved=moving,
        values=probes.values,
        apart=tuple(seen),
        model_symbols=model_symbols,
    )
    held_out = [*seen[-1:], *itertools.islice(apart, MORE_PROOFS)] if moving else []
    return _proved(derived, probes, [there.point for there in held_out], working)


def _loop(tracer: Tracer, step: Step, turned: Trace, depth: list[str]) -> Loop:
    return Loop(step, turned, {d: tracer({**turned.point, d: SHALLOW + 1}) for d in depth})


# A forward with more operators is not tried with one layer first: where that proves nothing, it takes time.
MOST_TWICE = 2000
# So many layers has the first held-out point, if the model has them: patterns of up to six show.
DEEP = 7
# So many held-out points besides.
MORE_PROOFS = 2


def _together(probes: Probes, refused: list[str]) -> dict[str, Aligned]:
    """Of symbols that cannot be moved alone those that can be moved with another one: k with a where all heads have
    their own keys, and h with the head size. Those of the same size are tried first."""
    moved: dict[str, Aligned] = {}
    pairs = [(x, y) for x in refused for y in refused if x != y]
    pairs.sort(key=lambda pair: probes.base[pair[0]] != probes.base[pair[1]])
    for leader, other in pairs[:MOST_PAIRS]:
        if leader not in moved and leader not in probes.follows and other not in moved:
            found = probes.moved_together(leader, other)
            if found is not None:
                moved[leader] = found
    return moved


MOST_PAIRS = 12


def _proved(derived: Derivation, probes: Probes, held_out: list[Point], working: Point) -> Derivation:
    """With the verdict of the held-out points, the first taken with more layers than the base where there is depth."""
    points = held_out or list(derived.proofs)
    if not points:
        return derived
    deep = {d: max(SHALLOW + 2, min(DEEP, working[d])) for d in derived.depth}
    points[0] = {**points[0], **deep}
    if any(g.dims is None for g in derived.groups):
        return replace(derived, proofs=tuple(points))
    traces = [probes.at(point) for point in points]
    return replace(derived, proofs=tuple(points), exact=all(t is not None and derived.holds(t) for t in traces))
