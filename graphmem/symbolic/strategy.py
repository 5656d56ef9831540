"""`derive_for`: which points to derive at, so that the formula holds at the working point and comes in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import sympy

from graphmem.accounts.saved import SAVED
from graphmem.errors import GraphmemError, TooLongError
from graphmem.points import Point
from graphmem.symbolic.bounds import Bound, Multiple, find_bounds, said_of
from graphmem.symbolic.derive import SHALLOW, derive
from graphmem.symbolic.derived import Derivation
from graphmem.symbolic.text import formula
from graphmem.symbolic.tracer import Tracer

# About a second: a layer of a Llama has 70 operators.
WORTH_CHECKING = 5000
# Two layers of anything but a loop over positions have less.
LONG = 4000
# Enough for some turns of any loop over blocks, and no multiple of their sizes.
_MORE_TURNS = 149
# Lengths to derive at in place of long ones; each is checked at the next: one turn may take 128 positions.
_LENGTHS = (24, 300, 2500)


@dataclass(frozen=True)
class _Search:
    """What does not change from try to try. depth: symbols that count layers, and how many come again together. unlike:
    those that count others."""

    tracer: Tracer
    model_symbols: frozenset[str]
    depth: Mapping[str, int]
    unlike: list[str]
    full_depth: bool


def derive_for(
    tracer: Tracer,
    working: Point,
    model_symbols: frozenset[str],
    depth: Mapping[str, int],
    unlike: list[str],
    *,
    full_depth: bool = False,
    short: bool = True,
) -> tuple[Derivation, tuple[Bound | Multiple, ...], list[str]]:
    """The derivation that holds at the working point, the lengths for which it does, and what to say about it.

    Args:
        depth: symbols that may count layers, and how many come again together. unlike: those that count layers of
            many kinds. full_depth: trace all layers.
        short: where forward loops over a long input, derive at a short one.
    """
    search = _Search(tracer, model_symbols, depth, unlike, full_depth)
    found = _from_short(search, working) if short and not full_depth else None
    derived, notes = found or _derived(search, working)
    found_bounds = find_bounds(tracer, derived, working) if _worth_bounding(derived) else ()
    bounds = (*(Multiple(d, period) for d, period in derived.periods.items() if period > 1), *found_bounds)
    if bounds:
        notes.append(said_of(bounds))
    if derived.follows:
        tied = ", ".join(f"{n} = {formula(derived.following(n), working)}" for n in derived.follows)
        notes.append(f"the formula is for {tied}: apart from each other they run other operators, or none")
    notes += _fixed(derived)
    if not any(g.key.table == SAVED for g in derived.groups):
        notes.append("autograd keeps nothing: nothing requires a gradient, or what does is not reached by the output")
    return derived, bounds, [*derived.trace.notes, *notes]


def _worth_bounding(derived: Derivation) -> bool:
    return derived.exact and bool(derived.moved) and not derived.skipped and len(derived.trace.ops) <= LONG


def _fixed(derived: Derivation) -> Iterator[str]:
    """What to say about the sizes that the formula does not have."""
    refused = [f"{n}={derived.base[n]}" for n in derived.refused if n not in derived.skipped]
    if refused:
        yield f"the formula is for {', '.join(refused)} only: no other value was found that runs the same operators"
    if derived.skipped:
        skipped = ", ".join(f"{n}={derived.base[n]}" for n in derived.skipped)
        yield f"the formula is for {skipped} only: forward has {len(derived.trace.ops)} operators, too many to move all"


def _derived(search: _Search, working: Point) -> tuple[Derivation, list[str]]:
    notes = []
    derived = _folded(search, working) if search.depth else None
    if derived is None:
        if search.depth:
            notes.append(f"the layers that {', '.join(search.depth)} counts are not alike: all of them were traced")
        derived = derive(search.tracer, working, search.model_symbols, {}, [*search.depth, *search.unlike])
        assert derived is not None, "without depth there is nothing to disagree with"
    elif not search.tracer.knows(working):
        layers = ", ".join(f"{d}={working[d]}" for d in search.depth)
        notes.append(f"{layers}: counted from the first layers; --full-depth (full_depth=True) traces them all")
    if (derived.refused or not derived.exact) and not derived.skipped:
        derived, said = _from_beside(search, derived, working)
        notes += said
    return derived, notes


def _folded(search: _Search, working: Point) -> Derivation | None:
    """The derivation from a few layers; None where it does not hold for all that are asked for."""
    tracer, depth = search.tracer, search.depth
    try:
        derived = derive(tracer, working, search.model_symbols, depth)
        if derived is None or derived.trace.drew:
            return None
        disproved = not derived.exact and all(g.dims is not None for g in derived.groups)
        if disproved and derived.proofs:
            return None
        # Forward may treat a layer by its number. As long as that costs little, all layers are traced once, to see; and
        # always where a single one is asked for, below what was traced, and where we shortened a finished module.
        one = any(working[d] < derived.base[d] for d in depth)
        if search.full_depth or one or tracer.finished or _operators(derived, working) <= WORTH_CHECKING:
            return derived if derived.holds(tracer(working)) else None
        return derived
    except GraphmemError:  # not with so few layers; if not with all of them either, that is said then
        return None


def _operators(derived: Derivation, working: Mapping[str, int]) -> int:
    """How many operators a trace of all layers would have."""
    base = len(derived.trace.ops)
    return base + sum(
        (len(t.ops) - base) * (working[d] - derived.base[d]) // derived.periods[d] for d, t in derived.deeper.items()
    )


def _from_beside(search: _Search, derived: Derivation, working: Point) -> tuple[Derivation, list[str]]:
    """What was refused at the working point may be derived beside it, and hold there all the same; where it does not,
    it is at least told.

    A size of 1 makes copies unnecessary that any other needs, and a loop of two turns has a first and a last one, but
    none between.
    """
    ones = {n: 2 for n in derived.refused if working[n] == 1}
    inputs = [n for n in (*derived.refused, *derived.doubtful) if n not in search.model_symbols and working[n] > 1]
    longer = {n: 2 * working[n] + _MORE_TURNS for n in inputs}
    said: list[str] = []
    for moved in (ones, longer):
        if not moved:
            continue
        try:
            other = derive(search.tracer, {**working, **moved}, search.model_symbols, derived.periods)
            if other is None or not _proved(other, moved):
                continue
            if other.holds(search.tracer({**other.base, **{n: working[n] for n in moved}})):
                return other, []
        except GraphmemError:  # a constant of the working point's size, such as a mask
            continue
        total = sympy.Add(*(g.size * g.count.expr for g in other.groups if g.key.table == SAVED))
        at = ", ".join(f"{n}={v}" for n, v in moved.items())
        said.append(f"at {at} other operators run: saved = {formula(total, working, other.depth)}, proved there")
    return derived, said


def _from_short(search: _Search, working: Point) -> tuple[Derivation, list[str]] | None:
    """The derivation at a shorter input, where forward loops over it and a trace of the working point would be long."""
    limited = search.tracer.limited(LONG)
    shallow = {**working, **{d: min(SHALLOW * period, working[d]) for d, period in search.depth.items()}}
    if _fits(limited, shallow):
        return None
    inputs = [n for n in working if n not in search.model_symbols and working[n] > 2 * _LENGTHS[0]]
    for name in sorted(inputs, key=lambda n: -working[n]):
        if not _fits(limited, {**shallow, name: _LENGTHS[0]}):
            continue  # the others are what is long
        for length, further in zip(_LENGTHS, (*_LENGTHS[1:], 4 * _LENGTHS[-1]), strict=True):
            if working[name] <= 2 * length:
                break
            derived, notes = _derived(search, {**working, name: length})
            check = min(further, working[name])
            if _proved(derived, [name]) and derived.holds(search.tracer({**derived.base, name: check})):
                said = f"{name}={working[name]}: counted from {name}={derived.base[name]}, and seen to hold at {check}"
                return derived, [*notes, said]
    return None


def _proved(derived: Derivation, names: Iterable[str]) -> bool:
    """Whether the formula is proved, and `names` are in it."""
    return derived.exact and not set(names) & set(derived.refused)


def _fits(limited: Tracer, point: Point) -> bool:
    """Whether the trace there is no longer than the limit. What cannot be traced at all is said later."""
    try:
        limited(point)
    except TooLongError:
        return False
    except GraphmemError:
        return True
    return True
