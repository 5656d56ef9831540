"""From traces at chosen points to an expression for every storage that is alive, and a proof.

base        the working point, with as few layers as show how they repeat
deeper      one layer more, per depth symbol: what repeats
moved       one symbol moved: exponents and sums, from shapes that correspond operator by operator
check       all symbols moved: tells apart what fits `moved` equally well; only where something does
held out    all symbols moved again, depths too: every size must come out to the byte
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import sympy

from graphmem.saved import Kept, sort_storages
from graphmem.symbolic.depth import SHALLOW
from graphmem.symbolic.fit import Seen, candidates, evaluate
from graphmem.symbolic.group import Count, Key, counts, grouped
from graphmem.symbolic.probes import Point, Probes, Tracer, is_dense
from graphmem.trace.record import SdpaCall, Trace

Dims = tuple[sympy.Expr, ...]


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

    def bytes_at(self, point: Mapping[str, int]) -> int | None:
        """One storage's bytes at `point`; None where the expression gives no whole number of bytes there."""
        return evaluate(self.size, point)


@dataclass(frozen=True)
class Derivation:
    """Everything the report is made of.

    base: the traced point; depth: its symbols that count layers; symbols: those that move a size, depth included.
    refused: integers whose other values run other operators, or none at all: the formula is for their base value.
    proof: the held-out point, None where none could be traced; exact: every size there came out to the byte.
    attentions: calls of scaled_dot_product_attention, with the shapes of q, k and v as expressions.
    """

    base: Point
    trace: Trace
    deeper: Mapping[str, Trace]
    kept: tuple[Kept, ...]
    groups: tuple[Group, ...]
    depth: tuple[str, ...]
    symbols: tuple[str, ...]
    refused: tuple[str, ...]
    proof: Point | None
    exact: bool
    attentions: tuple[tuple[SdpaCall, tuple[Dims, ...]], ...] = ()

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
    kept = sort_storages(trace)
    members = grouped(kept, trace.containers)
    how_often = counts(members, {d: grouped(sort_storages(t), t.containers) for d, t in deeper.items()})
    if how_often is None:
        return None

    probes = Probes(tracer, trace, kept, model_symbols)
    names = [n for n, v in base.items() if n not in depth and v > 0]
    moved = {n: t for n in names if (t := probes.moved(n)) is not None}
    moving = {n: t for n, t in moved.items() if probes.moves_something(t)}
    dims, proof = _dims(probes, moving)
    groups = tuple(Group(key, tuple(m), how_often[key], _shared(dims, m)) for key, m in members.items())
    repeating = {name for count in how_often.values() for name, _ in count.per_layer}
    derived = Derivation(
        base=base,
        trace=trace,
        deeper=deeper,
        kept=kept,
        groups=groups,
        depth=tuple(depth),
        symbols=tuple(n for n in working if n in moving or n in repeating),
        refused=tuple(n for n in names if n not in moved),
        proof=proof,
        exact=False,
        attentions=tuple((call, _shapes(i, probes, moving)) for i, call in enumerate(trace.sdpa)),
    )
    return _proved(derived, probes, working)


# So many layers has the held-out point, if the model has them: patterns of up to six show.
DEEP = 7


def _proved(derived: Derivation, probes: Probes, working: Point) -> Derivation:
    """With the verdict of the held-out point, taken with more layers than the base where there is depth."""
    if derived.proof is None or any(g.dims is None for g in derived.groups):
        return derived
    deeper = {**derived.proof, **{d: max(SHALLOW + 2, min(DEEP, working[d])) for d in derived.depth}}
    trace = probes.at(deeper)
    return replace(derived, proof=deeper, exact=trace is not None and derived.holds(trace))


def _shared(dims: Mapping[int, Dims | None], members: list[Kept]) -> Dims | None:
    found = {dims[m.storage] for m in members}
    return found.pop() if len(found) == 1 else None


def _dims(probes: Probes, moving: Mapping[str, Trace]) -> tuple[dict[int, Dims | None], Point | None]:
    """Expressions of every storage's dimensions, by storage index, and the held-out point that they were tried on."""
    options = {k.storage: _options(probes, moving, k) for k in probes.kept}
    apart = probes.apart({n: v for n, v in probes.values.items() if n in moving})
    if all(len(dim) == 1 for dims in options.values() for dim in dims):
        chosen: dict[int, Dims | None] = {i: tuple(dim[0] for dim in dims) for i, dims in options.items()}
    else:
        check = next(apart, probes.trace)
        chosen = {k.storage: _choose(options[k.storage], probes.dims(check, k), check.point) for k in probes.kept}
    if not moving:
        return chosen, dict(probes.base)
    held_out = next(apart, None)
    if held_out is None:
        return chosen, None
    for kept in probes.kept:
        dims = chosen[kept.storage]
        if dims is not None and [evaluate(d, held_out.point) for d in dims] != probes.dims(held_out, kept):
            chosen[kept.storage] = None
    return chosen, held_out.point


def _shapes(index: int, probes: Probes, moving: Mapping[str, Trace]) -> tuple[Dims, ...]:
    """The shapes of q, k and v of a call, as expressions."""
    found = []
    for name in ("q", "k", "v"):
        at_base: tuple[int, ...] = getattr(probes.trace.sdpa[index].facts, name)
        fitting = _fitting(probes, at_base, {n: getattr(t.sdpa[index].facts, name) for n, t in moving.items()})
        found.append(tuple(next(iter(c), sympy.Integer(size)) for c, size in zip(fitting, at_base, strict=True)))
    return tuple(found)


def _options(probes: Probes, moving: Mapping[str, Trace], kept: Kept) -> list[list[sympy.Expr]]:
    at_moved = {name: probes.dims(trace, kept) for name, trace in moving.items()}
    return _fitting(probes, probes.dims(probes.trace, kept), at_moved)


def _fitting(probes: Probes, at_base: Sequence[int], at_moved: Mapping[str, Sequence[int]]) -> list[list[sympy.Expr]]:
    """For each dimension the expressions that agree with it at the base and wherever a symbol was moved."""
    return [
        candidates(Seen(probes.base, probes.values, value, {name: dims[i] for name, dims in at_moved.items()}))
        for i, value in enumerate(at_base)
    ]


def _choose(options: list[list[sympy.Expr]], actual: list[int], point: Mapping[str, int]) -> Dims | None:
    """For each dimension the first expression that gives its value at the check point."""
    picked = [
        next((e for e in dim if evaluate(e, point) == value), None) for dim, value in zip(options, actual, strict=True)
    ]
    return None if None in picked else tuple(picked)
