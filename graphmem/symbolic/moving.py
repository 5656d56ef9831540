"""`moving_of`: what a bound moves with: a table's rows, a part of another size, or the tokens that a block takes.

With another value of what it moves with, the bound is elsewhere: that is traced before it is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from graphmem.points import Point
from graphmem.symbolic.bounds import Moving
from graphmem.symbolic.holds import Holds

# A limit is up to so many times another size, or such a part of it: d_head <= h/4.
_MOST_TIMES = 16
# Where a bound is so many times as large, a step tells so much more.
_CLOSER = 8


def moving_of(holds: Holds, last: int, on: int, *, refused: bool = False) -> Moving | None:
    """What the bound moves with that has `last` inside, and a step of `on` from there outside; None if it stays.

    refused: outside the model raises an error.
    """
    single = _single(holds, last, on)
    # A table has so many rows whatever the other sizes are, and the model raises an error beyond it.
    if refused or (single and single.beside):
        return single
    ways = {n: _way(holds, last, on, n) for n, _ in _others(holds) if not single or n not in single.by}
    grows, shrinks = (tuple(n for n, way in ways.items() if way == of) for of in (1, -1))
    if not grows and not shrinks:
        return single
    share = _share(holds.base, grows, shrinks)
    if single:
        return Moving((*single.by, *grows), shrinks, times=single.times * share)
    # The bound was seen at whole numbers only. Further in than it may be is safe, further out is not.
    inside, outside = last * share, (last + on) * share
    if on == 1:
        inside, outside = _closer(holds, grows, shrinks, inside, outside)
    moving = Moving(grows, shrinks, times=inside)
    simpler = moving._replace(times=_simplest(inside, outside) or inside)
    seen = [was for name in (*grows, *shrinks) for was in _seen(holds, simpler, on, name)]
    return simpler if seen and all(seen) else moving


def _closer(
    holds: Holds, grows: tuple[str, ...], shrinks: tuple[str, ...], inside: Fraction, outside: Fraction
) -> tuple[Fraction, Fraction]:
    """What `times` is at least, and what it does not reach, as seen where the bound is larger and one step tells more:
    512/s is 21 of 24, and 170 of 3."""
    for name in (*shrinks, *grows):
        value = holds.base[name]
        moved = value // _CLOSER if name in shrinks else value * _CLOSER
        if not moved:
            continue
        one = Moving(grows, shrinks).at({**holds.base, name: moved})
        assert one is not None, "all of these have values"
        first, beyond = math.floor(inside * one), math.ceil(outside * one)
        held = [last for last in range(first, beyond) if holds.at(last, **{name: moved})]
        if held[:1] == [first] and holds.at(held[-1] + 1, **{name: moved}) is False:
            return max(inside, held[-1] / one), min(outside, (held[-1] + 1) / one)
    return inside, outside


def _single(holds: Holds, last: int, on: int) -> Moving | None:
    """The one symbol with which a bound moves, how far off it the bound is, and how many times it."""
    found = []
    for name, value in _others(holds):
        for beside in (0, 1, -1):
            times = Fraction(last - beside, value)
            if 1 in (times.numerator, times.denominator) and _is_small(times):
                found.append((times != 1, beside != 0, name, beside, times))
    for *_, name, beside, times in sorted(found):
        moving = Moving((name,), beside=beside, times=times)
        if _is_seen(holds, moving, on, name):
            return moving
    return None


def _simplest(inside: Fraction, outside: Fraction) -> Fraction | None:
    """The roundest number from `inside` on that does not reach `outside`: a whole one that is a multiple of the largest
    power of 2, or one with a small denominator."""
    for of in range(1, _MOST_TIMES + 1):
        low, high = math.ceil(inside * of), math.ceil(outside * of) - 1
        if outside < inside:
            low, high = math.floor(outside * of) + 1, math.floor(inside * of)
        if low <= high:
            power = 1 << (high - low + 1).bit_length()
            while high // power * power < low:
                power //= 2
            return Fraction(high // power * power, of)
    return None


def _is_seen(holds: Holds, moving: Moving, on: int, name: str) -> bool:
    """Whether the bound is where it should be with another value of the symbol."""
    return any(_seen(holds, moving, on, name))


def _seen(holds: Holds, moving: Moving, on: int, name: str) -> Iterator[bool]:
    """For other values of the symbol, whether the bound is where it should be."""
    value = holds.base[name]
    for moved in (2 * value, value // 2) if on > 0 else (value // 2, 2 * value):
        there = moving.at({**holds.base, name: moved})
        if there is None or there < 1 or not moved or (there.denominator > 1 and not moving.per):
            continue
        yield _is_edge(holds, math.floor(there) if on > 0 else math.ceil(there), on, name, moved)


def _way(holds: Holds, last: int, on: int, name: str) -> int:
    """1 if the bound moves with the symbol, -1 if it moves against it, 0 if it stays, or if no trace tells."""
    value = holds.base[name]
    for moved in (2 * value, *([] if value % 2 else [value // 2])):
        if _is_edge(holds, last, on, name, moved):
            return 0
        for way, there in ((1, last * moved // value), (-1, last * value // moved)):
            first, beyond = _around(there, last, on)
            if first >= 1 and holds.at(first, **{name: moved}) and holds.at(beyond, **{name: moved}) is False:
                return way
    return 0


def _around(there: int, last: int, on: int) -> tuple[int, int]:
    """What is inside and what is outside of a bound that was at `last`, between two whole numbers, and is at `there`
    now: twice as far it is twice as vague."""
    inside = there if on > 0 or there >= last else math.ceil(last / 2)
    return inside, inside + on * (2 if there > last else 1)


def _is_edge(holds: Holds, last: int, on: int, name: str, moved: int) -> bool:
    return bool(holds.at(last, **{name: moved})) and holds.at(last + on, **{name: moved}) is False


def _others(holds: Holds) -> Iterator[tuple[str, int]]:
    derived = holds.derived
    apart = {holds.name, *derived.depth, *derived.loops, *derived.follows}
    return ((n, v) for n, v in holds.base.items() if n not in apart and v > 0)


def _share(base: Point, grows: tuple[str, ...], shrinks: tuple[str, ...]) -> Fraction:
    return Fraction(math.prod(base[n] for n in shrinks), math.prod(base[n] for n in grows))


def _is_small(times: Fraction) -> bool:
    return 0 < times.numerator <= _MOST_TIMES >= times.denominator
