"""Expressions for the dimensions of every storage: candidates from traces with one symbol moved, then a choice."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sympy

from graphmem.accounts.account import Kept
from graphmem.points import Point
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.curves import Samples, candidates, evaluate
from graphmem.symbolic.joined import joined
from graphmem.symbolic.probes import Probes
from graphmem.symbolic.rivals import Pair, Rivals
from graphmem.symbolic.roundings import disguised

Dims = tuple[sympy.Expr, ...]

_MOST_TELLING = 8  # traces to tell apart expressions that agree
_MOST_ASKED = 16  # points that are tried for that: the model may refuse them, or run other operators there
_MOST_REFUSED = 3  # of a symbol, before it is not moved further to tell: it may have no neighbours that the model takes
_CHECKS = 3  # times that a trace which was held out may send the search for expressions back


def shared(dims: Mapping[int, Dims | None], members: Sequence[Kept]) -> Dims | None:
    """The expressions of storages that are alike; None where they have no expressions, or different ones."""
    found = {dims[m.storage] for m in members}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Expressions, and what they rest on.

    dims: of every storage's dimensions, by storage index, None where there are none. seen: the traces with all symbols
    moved that were used. untold: pairs of a chosen expression and another one that agrees with all traces, too.
    """

    dims: Mapping[int, Dims | None]
    seen: tuple[Aligned, ...]
    untold: tuple[tuple[sympy.Expr, sympy.Expr], ...]


def dims_of(
    probes: Probes, moving: Mapping[str, Aligned], apart: Iterator[Aligned], known: Sequence[Aligned] = ()
) -> Found:
    """Expressions of every storage's dimensions. Of the traces of `apart` it uses a check, if there is something to
    choose, and one that is held out.

    known: further traces that the expressions have to agree with.
    """
    found = _choices(probes, moving, probes.kept)
    seen = list(known)
    if any(len(dim) != 1 for dims in found.values() for dim in dims):
        seen += itertools.islice(apart, 1)
    for _ in range(_CHECKS):
        chosen = _chosen(probes, moving, found, seen)
        held_out = next(apart, None) if moving else None
        if held_out is None:
            break
        seen.append(held_out)
        checked = {
            k.storage: _choose(probes, [[d] for d in chosen[k.storage] or ()], [held_out], k) for k in probes.kept
        }
        if checked == chosen:
            break
        chosen = checked
    seen = _held_out_last(probes, found, chosen, seen, moving)
    # Of those that agree the first is chosen, and it is the first of each pair. What is not rounded is tried beside the
    # base, later on: a rounding shows there.
    rounded = {dim for dims in chosen.values() for dim in dims or () if dim.has(sympy.ceiling, sympy.floor)}
    untold = {pair for pair in _pairs(_agreeing_dims(probes, found, seen)) if pair[0] in rounded}
    return Found(dims=chosen, seen=tuple(seen), untold=tuple(sorted(untold, key=str)))


def _held_out_last(
    probes: Probes,
    found: Mapping[int, list[list[sympy.Expr]]],
    chosen: Mapping[int, Dims | None],
    seen: list[Aligned],
    moving: Mapping[str, Aligned],
) -> list[Aligned]:
    """`seen` with a trace in the end in which all symbols move, if there is one without which the same is chosen: it
    was not needed, so it is a proof."""
    for there in reversed(seen):
        if all(there.point[n] != probes.base[n] for n in moving):
            rest = [other for other in seen if other is not there]
            if all(_choose(probes, found[k.storage], rest, k) == chosen[k.storage] for k in probes.kept):
                return [*rest, there]
    return seen


def _chosen(
    probes: Probes,
    moving: Mapping[str, Aligned],
    found: dict[int, list[list[sympy.Expr]]],
    seen: list[Aligned],
) -> dict[int, Dims | None]:
    """The expressions that agree with all of `seen`. What is looked for further, expressions and traces, is added to
    `found` and `seen`."""
    chosen = _with_roundings(probes, moving, found, seen)
    for _ in range(_CHECKS):
        told = _told_apart(probes, found, seen)
        if not told:
            break
        seen += told
        chosen = _with_roundings(probes, moving, found, seen)
    return chosen


def _with_roundings(
    probes: Probes,
    moving: Mapping[str, Aligned],
    found: dict[int, list[list[sympy.Expr]]],
    seen: Sequence[Aligned],
) -> dict[int, Dims | None]:
    """The expressions that agree with all of `seen`, roundings among them where nothing simpler does."""
    chosen = {k.storage: _choose(probes, found[k.storage], seen, k) for k in probes.kept}
    tried: set[sympy.Expr] | None = None
    while seen and (left := [k for k in probes.kept if chosen[k.storage] is None]):
        # A rounded sum, or a rounded quotient, is found once another tensor has shown the sum itself.
        known = {d for dims in chosen.values() for d in dims or () if not d.is_Integer and not d.is_Symbol}
        if known == tried:
            break
        found |= _choices(probes, moving, left, sorted(known, key=sympy.count_ops), roundings=True)
        chosen |= {k.storage: _choose(probes, found[k.storage], seen, k) for k in left}
        tried = known
    _renew(probes, moving, found, chosen)
    return chosen


def _renew(
    probes: Probes,
    moving: Mapping[str, Aligned],
    found: dict[int, list[list[sympy.Expr]]],
    chosen: Mapping[int, Dims | None],
) -> None:
    """To `found` add other roundings of what is a rounded sum that no tensor has: once the tensor itself is known to
    have floor(n/p)² + 1, 32 ceil((n²/p² + 1)/32) has a rival."""
    dims = {d for dims in chosen.values() for d in dims or ()}
    known = sorted((d for d in dims if not d.is_Integer and not d.is_Symbol), key=sympy.count_ops)
    old = [k for k in probes.kept if any(sums_in(d) - {*known} for d in chosen[k.storage] or ())]
    for storage, dims_now in _choices(probes, moving, old, known, roundings=True).items():
        found[storage] = [list(dict.fromkeys((*x, *y))) for x, y in zip(found[storage], dims_now, strict=True)]


def sums_in(dim: sympy.Expr) -> set[sympy.Expr]:
    """Of what is rounded in it the sums, times the block: n + 1 of 32 ceil((n + 1)/32)."""
    args = [x.args[0] for x in dim.atoms(sympy.ceiling, sympy.floor)]
    parts = {arg: [int(term.as_coeff_Mul()[0].q) for term in arg.args] for arg in args if arg.is_Add}
    return {sympy.expand(arg * math.lcm(*of)) for arg, of in parts.items()}


def _told_apart(
    probes: Probes, options: Mapping[int, Sequence[Sequence[sympy.Expr]]], seen: Sequence[Aligned]
) -> list[Aligned]:
    """Traces at points where expressions differ that agree in all of `seen`."""
    told: list[Aligned] = []
    refused: Counter[tuple[str, int]] = Counter()
    asked: list[Point] = []
    rivals, open_ = Rivals(probes.base), _agreeing_dims(probes, options, seen)
    while len(told) < _MOST_TELLING and len(asked) < _MOST_ASKED and probes.affordable():
        points = rivals.most_telling(_pairs(open_))
        found = next((x for x in points if refused[x.name, x.unit] < _MOST_REFUSED and x.point not in asked), None)
        if found is None:
            break
        asked.append(found.point)
        there = probes.aligned_at(found.point)
        if there is None:
            refused[found.name, found.unit] += 1
        else:
            told.append(there)
            open_ = _still_agreeing(probes, open_, there)
    return told


_Open = list[tuple[Kept, int, tuple[sympy.Expr, ...]]]  # a storage, which of its dimensions, what that may be


def _agreeing_dims(
    probes: Probes, options: Mapping[int, Sequence[Sequence[sympy.Expr]]], seen: Sequence[Aligned]
) -> _Open:
    """The dimensions for which more than one expression agrees with all of `seen`."""
    open_ = [(k, i, tuple(dict.fromkeys(dim))) for k in probes.kept for i, dim in enumerate(options[k.storage])]
    for there in seen:
        open_ = _still_agreeing(probes, open_, there)
    return [one for one in open_ if len(one[2]) > 1]


def _still_agreeing(probes: Probes, open_: _Open, there: Aligned) -> _Open:
    left: _Open = []
    for kept, i, dim in open_:
        if len(dim) > 1:
            actual = probes.dims(there, kept)
            agree = tuple(e for e in dim if i < len(actual) and evaluate(e, there.point) == actual[i])
            left.append((kept, i, agree))
    return [one for one in left if len(one[2]) > 1]


def _pairs(open_: _Open) -> list[Pair]:
    """For each dimension the first of the expressions that agree, beside each of the others, in a fixed order."""
    dims = dict.fromkeys(dim for _, _, dim in open_)
    return list(dict.fromkeys((dim[0], other) for dim in dims for other in dim[1:]))


def _choices(
    probes: Probes,
    moving: Mapping[str, Aligned],
    kept: Sequence[Kept],
    vocabulary: Sequence[sympy.Expr] = (),
    *,
    roundings: bool = False,
) -> dict[int, list[list[sympy.Expr]]]:
    at_base = Aligned(probes.trace, None)
    return {
        k.storage: candidates_of_each(
            probes.base,
            probes.values,
            probes.dims(at_base, k),
            {name: probes.dims(there, k) for name, there in moving.items()},
            vocabulary,
            roundings=roundings,
        )
        for k in kept
    }


def _choose(probes: Probes, options: list[list[sympy.Expr]], seen: Sequence[Aligned], kept: Kept) -> Dims | None:
    """The expressions that give the dimensions in all of `seen`; None where a dimension has no such expression."""
    actual = [(there.point, probes.dims(there, kept)) for there in seen]
    if any(len(dims) != len(options) for _, dims in actual):
        return None
    picked = agreeing(options, actual)
    return None if None in picked else tuple(picked)


def agreeing(
    options: Sequence[Sequence[sympy.Expr]], seen: Sequence[tuple[Point, Sequence[int]]]
) -> list[sympy.Expr | None]:
    """For each dimension the first of its `options` that gives it at all of the points; None where none does."""
    return [
        next((e for e in dim if all(evaluate(e, point) == dims[i] for point, dims in seen)), None)
        for i, dim in enumerate(options)
    ]


def candidates_of_each(
    base: Point,
    values: Point,
    at_base: Sequence[int],
    at_moved: Mapping[str, Sequence[int]],
    vocabulary: Sequence[sympy.Expr] = (),
    *,
    roundings: bool = False,
) -> list[list[sympy.Expr]]:
    """For each dimension the expressions that agree with it at the base and wherever one symbol was moved.

    vocabulary: expressions of other tensors, of which a dimension may be a rounding. roundings: also those that look
    like something simpler in these samples.
    """
    samples = [
        Samples(base, values, value, {name: dims[i] for name, dims in at_moved.items()})
        for i, value in enumerate(at_base)
    ]
    return [
        [
            *candidates(one, vocabulary),
            *joined(one, vocabulary),
            *(disguised(one, vocabulary) if roundings else ()),
        ]
        for one in samples
    ]
