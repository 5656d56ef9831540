"""From traces at chosen points to an expression for every kept storage, and a proof.

base        the working point, with as few layers as show how they repeat
deeper      one layer more, per depth symbol: what repeats
moved       one symbol moved: exponents and sums, from shapes that correspond operator by operator
check       all symbols moved: tells apart what fits `moved` equally well; only where something does
held out    all symbols moved again, depths too: every size must come out to the byte
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import sympy

from graphmem.errors import GraphmemError
from graphmem.saved import Kept, sort_storages
from graphmem.symbolic.depth import SHALLOW
from graphmem.symbolic.fit import Seen, candidates, evaluate
from graphmem.symbolic.group import Count, Key, counts, grouped
from graphmem.symbolic.points import held_out, moves
from graphmem.trace.record import Ref, Trace

Point = dict[str, int]
Tracer = Callable[[Point], Trace]


@dataclass(frozen=True)
class Group:
    """Storages alike but for their layer. `size` is one storage's bytes as an expression; None where none was proved.

    `dims` are the expressions of its shape, where they are known.
    """

    key: Key
    members: tuple[Kept, ...]
    count: Count
    size: sympy.Expr | None = None
    dims: tuple[sympy.Expr, ...] | None = None


@dataclass(frozen=True)
class Derivation:
    """Everything the report is made of.

    base: the traced point; depth: its symbols that count layers; symbols: those that move a size, depth included.
    proof: the held-out point, None where none could be traced; exact: every size there came out to the byte.
    """

    base: Point
    trace: Trace
    deeper: Mapping[str, Trace]
    kept: tuple[Kept, ...]
    groups: tuple[Group, ...]
    depth: tuple[str, ...]
    symbols: tuple[str, ...]
    proof: Point | None
    exact: bool
    notes: tuple[str, ...] = field(default=())


def derive(tracer: Tracer, working: Point, model_symbols: frozenset[str], depth: list[str]) -> Derivation:
    """Trace what is needed and derive. `depth` symbols that turn out not to repeat layers are traced as they are."""
    notes: list[str] = []
    base, trace, deeper = _base(tracer, working, depth)
    kept = sort_storages(trace)
    groups = grouped(kept, trace.containers)
    how_often = counts(groups, {d: _groups_of(t) for d, t in deeper.items()})
    if how_often is None:
        notes.append(f"the layers counted by {', '.join(depth)} are not alike: all of them were traced")
        base, trace, deeper = _base(tracer, working, [])
        kept = sort_storages(trace)
        groups = grouped(kept, trace.containers)
        how_often = counts(groups, {})
    assert how_often is not None
    depth = list(deeper)

    probes = _Probes(tracer, trace, kept, base, model_symbols)
    names = [n for n, v in base.items() if n not in depth and v > 0]
    moved = {n: t for n in names if (t := probes.moved(n)) is not None}
    refused = [n for n in names if n not in moved]
    if refused:
        values = ", ".join(f"{n}={base[n]}" for n in refused)
        notes.append(
            f"no other value of {', '.join(refused)} runs the same operators: the formula holds for {values} only"
        )
    sizes, proof, exact = _sizes(probes, moved, depth, how_often, groups)
    moving = [n for n in moved if _moves_something(kept, trace, moved[n])]
    symbols = tuple(moving) + tuple(d for d in depth if any(d == n for c in how_often.values() for n, _ in c.per_layer))
    return Derivation(
        base=base,
        trace=trace,
        deeper=deeper,
        kept=kept,
        groups=tuple(_group(key, members, how_often[key], sizes) for key, members in groups.items()),
        depth=tuple(depth),
        symbols=tuple(n for n in working if n in symbols),
        proof=proof,
        exact=exact,
        notes=(*trace.notes, *notes),
    )


def _base(tracer: Tracer, working: Point, depth: list[str]) -> tuple[Point, Trace, dict[str, Trace]]:
    base = {**working, **dict.fromkeys(depth, SHALLOW)}
    return base, tracer(base), {d: tracer({**base, d: SHALLOW + 1}) for d in depth}


def _groups_of(trace: Trace) -> dict[Key, list[Kept]]:
    return grouped(sort_storages(trace), trace.containers)


def _group(key: Key, members: list[Kept], count: Count, sizes: Mapping[int, tuple[sympy.Expr, ...] | None]) -> Group:
    found = {sizes.get(m.storage) for m in members}
    dims = found.pop() if len(found) == 1 else None
    if dims is None:
        return Group(key, tuple(members), count)
    size = sympy.Mul(*dims) * _item_bytes(members[0])
    return Group(key, tuple(members), count, sympy.expand(size), dims if _is_dense(members[0]) else None)


class _Probes:
    """Traces at other points that correspond to the base operator by operator."""

    def __init__(
        self, tracer: Tracer, trace: Trace, kept: tuple[Kept, ...], base: Point, model_symbols: frozenset[str]
    ) -> None:
        self._tracer, self._signature = tracer, trace.signature()
        self._born = _born(trace, kept)
        self.trace, self.kept, self.base, self.model_symbols = trace, kept, base, model_symbols
        self.values: Point = {}

    def moved(self, name: str) -> Trace | None:
        """A trace with `name` alone moved, to the first value that is accepted."""
        for value in moves(self.base[name], shapes_model=name in self.model_symbols):
            found = self._aligned({**self.base, name: value})
            if found is not None:
                self.values[name] = value
                return found
        return None

    def apart(self, moved: Point) -> Iterator[tuple[Point, Trace]]:
        """Traces with all symbols of `moved` moved, to values that no probe had."""
        for point in held_out(self.base, moved, self.model_symbols):
            found = self._aligned(point)
            if found is not None:
                yield point, found

    def at(self, point: Point) -> Trace | None:
        """The trace at `point`; None where the model refuses it."""
        try:
            return self._tracer(point)
        except GraphmemError:
            return None

    def _aligned(self, point: Point) -> Trace | None:
        trace = self.at(point)
        if trace is None or trace.signature() != self._signature:
            return None
        return trace if _born(trace, sort_storages(trace)) == self._born else None


def _born(trace: Trace, kept: tuple[Kept, ...]) -> set[tuple[str, Ref]]:
    return {(k.table, trace.storages[k.storage].born) for k in kept}


Dims = tuple[sympy.Expr, ...]


def _sizes(
    probes: _Probes,
    moved: Mapping[str, Trace],
    depth: list[str],
    how_often: Mapping[Key, Count],
    groups: Mapping[Key, list[Kept]],
) -> tuple[dict[int, Dims | None], Point | None, bool]:
    """Expressions of every kept storage's dimensions by storage index, the held-out point, and whether it came out."""
    options = {k.storage: _options(probes, moved, k) for k in probes.kept}
    apart = probes.apart(
        {n: v for n, v in probes.values.items() if _moves_something(probes.kept, probes.trace, moved[n])}
    )
    chosen: dict[int, Dims | None]
    if all(len(dim) == 1 for dims in options.values() for dim in dims):
        chosen = {i: tuple(dim[0] for dim in dims) for i, dims in options.items()}
    else:
        point, check = next(apart, (probes.base, probes.trace))
        chosen = {k.storage: _choose(options[k.storage], _dims(probes.trace, check, k), point) for k in probes.kept}
    found = next(apart, None)
    if found is None:
        return chosen, None, False
    point, trace = found
    for kept in probes.kept:
        dims = chosen[kept.storage]
        if dims is not None and [evaluate(d, point) for d in dims] != _dims(probes.trace, trace, kept):
            chosen[kept.storage] = None
    exact = all(dims is not None for dims in chosen.values())
    if exact and depth:
        point = {**point, **dict.fromkeys(depth, SHALLOW + 2)}
        exact = _agrees(probes.at(point), point, how_often, groups, chosen)
    return chosen, point, exact


def _agrees(
    trace: Trace | None,
    point: Point,
    how_often: Mapping[Key, Count],
    groups: Mapping[Key, list[Kept]],
    chosen: Mapping[int, Dims | None],
) -> bool:
    """Whether a trace with more layers keeps exactly the storages that the counts and sizes foretell."""
    if trace is None:
        return False
    foretold: Counter[int] = Counter()
    for key, members in groups.items():
        dims = chosen[members[0].storage]
        assert dims is not None
        size = math.prod(evaluate(d, point) or 0 for d in dims) * _item_bytes(members[0])
        foretold[size] += how_often[key].at(point)
    return +foretold == Counter(k.nbytes for k in sort_storages(trace))


def _options(probes: _Probes, moved: Mapping[str, Trace], kept: Kept) -> list[list[sympy.Expr]]:
    at_base = _dims(probes.trace, probes.trace, kept)
    at_moved = {name: _dims(probes.trace, trace, kept) for name, trace in moved.items()}
    return [
        candidates(Seen(probes.base, probes.values, value, {name: dims[i] for name, dims in at_moved.items()}))
        for i, value in enumerate(at_base)
    ]


def _choose(options: list[list[sympy.Expr]], actual: list[int], point: Point) -> Dims | None:
    picked = []
    for dim, value in zip(options, actual, strict=True):
        fitting = next((e for e in dim if evaluate(e, point) == value), None)
        if fitting is None:
            return None
        picked.append(fitting)
    return tuple(picked)


def _dims(base: Trace, trace: Trace, kept: Kept) -> list[int]:
    """What is fitted, in `trace`: the dimensions of the tensor that made the storage, or the storage's bytes where the
    two do not agree (a padded or an overlapping layout)."""
    born = base.storages[kept.storage].born
    fact = trace.ops[born.op].outputs[born.output]
    assert fact is not None
    return list(fact.shape) if _is_dense(kept) else [trace.storages[fact.storage].nbytes]


def _is_dense(kept: Kept) -> bool:
    return math.prod(kept.shape) * kept.itemsize == kept.nbytes


def _item_bytes(kept: Kept) -> int:
    return kept.itemsize if _is_dense(kept) else 1


def _moves_something(kept: tuple[Kept, ...], base: Trace, trace: Trace) -> bool:
    return any(_dims(base, trace, k) != _dims(base, base, k) for k in kept)
