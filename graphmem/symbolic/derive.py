"""From traces at chosen points to an expression for every storage that is alive, and a proof.

base        the working point, with as few layers as show how they repeat
deeper      one layer more, per depth symbol: what repeats
moved       one symbol moved: exponents and sums, from shapes that correspond operator by operator
check       all symbols moved: tells apart what fits `moved` equally well; only where something does
held out    all symbols moved again, depths too: every size must come out to the byte
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import sympy

from graphmem.saved import Kept, sort_storages
from graphmem.symbolic.depth import SHALLOW
from graphmem.symbolic.fit import Seen, candidates, evaluate
from graphmem.symbolic.group import Count, Key, counts, grouped
from graphmem.symbolic.probes import Point, Probes, Tracer, is_dense
from graphmem.trace.record import Ref, SdpaCall, Trace

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

    def share(self, members: int) -> Group | None:
        """The group with so many of its members at the base point, and as many of what every further layer adds; None
        where that is no whole number."""
        of = len(self.members)
        if any(slope * members % of for _, slope in self.count.per_layer):
            return None
        per_layer = tuple((name, slope * members // of) for name, slope in self.count.per_layer)
        return replace(self, count=Count(members, per_layer))

    def bytes_at(self, point: Mapping[str, int]) -> int | None:
        """One storage's bytes at `point`; None where the expression gives no whole number of bytes there."""
        return evaluate(self.size, point)


@dataclass(frozen=True)
class Derivation:
    """Everything the report is made of.

    base: the traced point; depth: its symbols that count layers; symbols: those that move a size, depth included.
    refused: integers whose other values run other operators, or none at all: the formula is for their base value.
    skipped: those of them that were not tried, since tracing forward often enough would take too long.
    proof: the held-out point, None where none could be traced; exact: every size there came out to the byte.
    moved: a trace for every symbol in `symbols` but depth, with that alone moved to `values`; apart: traces with all of
    them moved. model_symbols: those that shape the model, and not only its inputs.
    """

    base: Point
    trace: Trace
    deeper: Mapping[str, Trace]
    kept: tuple[Kept, ...]
    groups: tuple[Group, ...]
    depth: tuple[str, ...]
    symbols: tuple[str, ...]
    refused: tuple[str, ...]
    skipped: tuple[str, ...]
    proof: Point | None
    exact: bool
    moved: Mapping[str, Trace]
    values: Point
    apart: tuple[Trace, ...]
    model_symbols: frozenset[str]

    @cached_property
    def attentions(self) -> tuple[tuple[SdpaCall, tuple[Dims, ...]], ...]:
        """Calls of scaled_dot_product_attention, with the shapes of q, k, v and the mask as expressions."""
        return tuple(
            (call, tuple(self._shape_in_call(i, name) for name in ("q", "k", "v", "mask_shape")) if call.facts else ())
            for i, call in enumerate(self.trace.sdpa)
        )

    def _shape_in_call(self, index: int, name: str) -> Dims:
        """A dimension without an expression is the number that was traced."""
        traced: tuple[int, ...] = getattr(self.trace.sdpa[index].facts, name)
        fitted = self._fitted(lambda trace: getattr(trace.sdpa[index].facts, name))
        return tuple(sympy.Integer(n) if d is None else d for d, n in zip(fitted, traced, strict=True))

    def shape(self, ref: Ref) -> Dims | None:
        """The shape of a tensor as expressions; None where it is no tensor, or a dimension has none."""
        if self.trace.ops[ref.op].outputs[ref.output] is None:
            return None
        fitted = self._fitted(lambda trace: trace.ops[ref.op].outputs[ref.output].shape)  # type: ignore[union-attr]
        return None if None in fitted else tuple(fitted)

    def _fitted(self, sizes: Callable[[Trace], Sequence[int]]) -> list[sympy.Expr | None]:
        """For each size that is read off a trace the first expression that gives it in every trace."""
        at_moved = {name: sizes(trace) for name, trace in self.moved.items()}
        options = _fitting(self.base, self.values, sizes(self.trace), at_moved)
        seen = [(trace.point, sizes(trace)) for trace in self.apart]
        return [
            next((e for e in dim if all(evaluate(e, point) == there[i] for point, there in seen)), None)
            for i, dim in enumerate(options)
        ]

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
    dims, check, held_out = _dims(probes, moving)
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
        skipped=tuple(probes.skipped),
        proof=held_out.point if held_out else None if moving else dict(base),
        exact=False,
        moved=moving,
        values=probes.values,
        apart=tuple(t for t in (check, held_out) if t is not None),
        model_symbols=model_symbols,
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


def _dims(probes: Probes, moving: Mapping[str, Trace]) -> tuple[dict[int, Dims | None], Trace | None, Trace | None]:
    """Expressions of every storage's dimensions, by storage index; the check and the held-out trace, where needed."""
    options = {k.storage: _options(probes, moving, k) for k in probes.kept}
    apart = probes.apart({n: v for n, v in probes.values.items() if n in moving})
    check = None
    if all(len(dim) == 1 for dims in options.values() for dim in dims):
        chosen: dict[int, Dims | None] = {i: tuple(dim[0] for dim in dims) for i, dims in options.items()}
    else:
        check = next(apart, probes.trace)
        chosen = {k.storage: _choose(options[k.storage], probes.dims(check, k), check.point) for k in probes.kept}
    held_out = next(apart, None) if moving else None
    if held_out is None:
        return chosen, check, None
    for kept in probes.kept:
        dims = chosen[kept.storage]
        if dims is not None and [evaluate(d, held_out.point) for d in dims] != probes.dims(held_out, kept):
            chosen[kept.storage] = None
    return chosen, check, held_out


def _options(probes: Probes, moving: Mapping[str, Trace], kept: Kept) -> list[list[sympy.Expr]]:
    at_moved = {name: probes.dims(trace, kept) for name, trace in moving.items()}
    return _fitting(probes.base, probes.values, probes.dims(probes.trace, kept), at_moved)


def _fitting(
    base: Point, values: Point, at_base: Sequence[int], at_moved: Mapping[str, Sequence[int]]
) -> list[list[sympy.Expr]]:
    """For each dimension the expressions that agree with it at the base and wherever a symbol was moved."""
    return [
        candidates(Seen(base, values, value, {name: dims[i] for name, dims in at_moved.items()}))
        for i, value in enumerate(at_base)
    ]


def _choose(options: list[list[sympy.Expr]], actual: list[int], point: Mapping[str, int]) -> Dims | None:
    """For each dimension the first expression that gives its value at the check point."""
    picked = [
        next((e for e in dim if evaluate(e, point) == value), None) for dim, value in zip(options, actual, strict=True)
    ]
    return None if None in picked else tuple(picked)
