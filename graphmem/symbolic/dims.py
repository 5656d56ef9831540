"""Expressions for the dimensions of every storage, from traces in which one symbol was moved, or all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import sympy

from graphmem.accounts.account import Kept
from graphmem.points import Point
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.curves import Seen, candidates, evaluate
from graphmem.symbolic.probes import Probes

Dims = tuple[sympy.Expr, ...]


def shared(dims: Mapping[int, Dims | None], members: Sequence[Kept]) -> Dims | None:
    """The expressions of storages that are alike; None where they have none, or different ones."""
    found = {dims[m.storage] for m in members}
    return found.pop() if len(found) == 1 else None


def dims_of(
    probes: Probes, moving: Mapping[str, Aligned], apart: Iterator[Aligned]
) -> tuple[dict[int, Dims | None], list[Aligned]]:
    """Expressions of every storage's dimensions, by storage index; and what was needed of `apart`: the check, where
    there is something to choose, and one that was held out."""
    found = _choices(probes, moving, ())
    seen: list[Aligned] = []
    if any(len(dim) != 1 for dims in found.values() for dim in dims):
        seen += itertools.islice(apart, 1)
    chosen = {k.storage: _choose(probes, found[k.storage], seen, k) for k in probes.kept}
    if None in chosen.values() and seen:
        # What rounds a sum, or a quotient, is found once that is known from another tensor.
        known = {d for dims in chosen.values() for d in dims or () if not d.is_Integer and not d.is_Symbol}
        again = _choices(probes, moving, sorted(known, key=sympy.count_ops))
        chosen |= {k.storage: _choose(probes, again[k.storage], seen, k) for k in probes.kept if not chosen[k.storage]}
    if moving:
        seen += itertools.islice(apart, 1)
    if seen:
        chosen = {k.storage: _choose(probes, [[d] for d in chosen[k.storage] or ()], seen[-1:], k) for k in probes.kept}
    return chosen, seen


def _choices(
    probes: Probes, moving: Mapping[str, Aligned], vocabulary: Sequence[sympy.Expr]
) -> dict[int, list[list[sympy.Expr]]]:
    at_base = Aligned(probes.trace, None)
    return {
        k.storage: fitting(
            probes.base,
            probes.values,
            probes.dims(at_base, k),
            {name: probes.dims(there, k) for name, there in moving.items()},
            vocabulary,
        )
        for k in probes.kept
    }


def _choose(probes: Probes, options: list[list[sympy.Expr]], seen: Sequence[Aligned], kept: Kept) -> Dims | None:
    """The expressions that give the dimensions in all of `seen`; None where one is missing."""
    actual = [(there.point, probes.dims(there, kept)) for there in seen]
    if any(len(dims) != len(options) for _, dims in actual):
        return None
    picked = agreeing(options, actual)
    return None if None in picked else tuple(picked)


def agreeing(
    options: Sequence[Sequence[sympy.Expr]], seen: Sequence[tuple[Point, Sequence[int]]]
) -> list[sympy.Expr | None]:
    """For each dimension the first expression that gives it at all of the points."""
    return [
        next((e for e in dim if all(evaluate(e, point) == dims[i] for point, dims in seen)), None)
        for i, dim in enumerate(options)
    ]


def fitting(
    base: Point,
    values: Point,
    at_base: Sequence[int],
    at_moved: Mapping[str, Sequence[int]],
    vocabulary: Sequence[sympy.Expr] = (),
) -> list[list[sympy.Expr]]:
    """For each dimension the expressions that agree with it at the base and wherever a symbol was moved."""
    return [
        candidates(Seen(base, values, value, {name: dims[i] for name, dims in at_moved.items()}), vocabulary)
        for i, value in enumerate(at_base)
    ]
