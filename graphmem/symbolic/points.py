"""Which points to trace: one per symbol with that alone moved, and some with all moved that nothing is derived from."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from graphmem.points import Point

_TRIES = 8
# Steps that leave the bucket of any rounding up: probes that of 32, to what kernels round, held-out points that of 256.
_STEP, _LONG_STEP = 37, 259
_ALIGNED = 8
# Nothing in a layer is more than so many times something else: 4h, 8/3 h.
_MULTIPLE = 16
# What is shorter only becomes longer: tiny lengths are special.
_SHORT = 64


def moves(value: int, *, shapes_model: bool) -> list[int]:
    """Other values for a symbol, likeliest to be accepted first.

    Sizes of the inputs are moved to something odd and farther than any rounding. Sizes of the model have divisors to
    respect and limits to stay under (a larger head may need another kernel), so they are halved first.
    """
    if shapes_model:
        tries = [value // 2 if value % 2 == 0 else 0, 2 * value, 3 * value, value * 3 // 2, value + 1, value - 1]
    else:
        odd = [value + value // 2 + _STEP, value + value // 2 + 5, value // 2 + 3]
        aligned = value + (value // 2 + 40) // _ALIGNED * _ALIGNED  # as much as before
        tries = [odd[0], aligned, *odd[1:], 2 * value, value // 2, value - 1]
    return [v for v in dict.fromkeys(tries) if v > 0 and v != value]


def held_out(
    base: Point,
    moved: Point,
    model_symbols: frozenset[str],
    *,
    loops: Collection[str] = (),
    full: Collection[str] = (),
    near: bool = False,
) -> Iterator[Point]:
    """Points that differ from `base` in every symbol of `moved`, at values that no probe had, likeliest first.

    Drawn at random, then bettered in what else they break: which sizes divide which, which is the larger, and on which
    side of the base the probe was accepted. A model may care about any of these, or about none.

    loops: symbols that say how often a loop turns: these become longer, since few turns may have no middle, but not as
    long as to leave the bucket of the largest rounding up. full: symbols of which the base has nearly all that the
    model takes: these become shorter. near: inputs are not much longer than the base.
    """
    chance = random.Random(0)
    choices = {n: _choices(base[n], moved[n], n in model_symbols, near or bool(loops), n in loops) for n in moved}
    choices |= {n: _shorter(base[n], moved[n]) for n in moved if n in full}
    sizes = [n for n in moved if n in model_symbols and n not in loops]
    relations, chances = _relations(base, sizes), coincidences(base, list(moved))

    def broken(point: Point) -> int:
        # What is the same by chance must not stay the same, or the point does not prove which of the two it is.
        return 4 * _broken(point, base, moved, sizes, relations) + sum(c.holds_at(point, base) for c in chances)

    drawn: list[Point] = []
    for _ in range(2 * _TRIES):
        point = {**base, **{n: chance.choice(choices[n]) for n in moved}}
        for name in chance.sample(sizes, len(sizes)) * 2:
            point = min(({**point, name: v} for v in chance.sample(choices[name], len(choices[name]))), key=broken)
        if point not in drawn:
            drawn.append(point)
    yield from sorted(drawn, key=broken)[:_TRIES]
    for factor in (3, 2, 5):
        for aligned in (False, True):  # as many masks have to be: 104 is 8 times 13
            yield {
                name: value
                if name not in moved
                else value * factor
                if name in model_symbols
                else value + (104 * factor if aligned else value // 3 + 3)
                for name, value in base.items()
            }


class Coincidence(NamedTuple):
    """At the base `size` is a small multiple of the product of `others`: it may be meant, or be chance."""

    size: str
    others: tuple[str, ...]

    def holds_at(self, point: Mapping[str, int], base: Mapping[str, int]) -> bool:
        """Whether the multiple is the same at `point`."""
        there, here = (math.prod(p[n] for n in self.others) for p in (point, base))
        return point[self.size] * here == base[self.size] * there


def coincidences(base: Mapping[str, int], names: Sequence[str]) -> list[Coincidence]:
    """All between sizes, and between sizes and products of two."""
    found = []
    for others in (*((n,) for n in names), *itertools.combinations_with_replacement(names, 2)):
        product = math.prod(base[n] for n in others)
        for size in names:
            multiple, rest = divmod(base[size], product)
            if size not in others and not rest and 1 <= multiple <= _MULTIPLE and product > 1:
                found.append(Coincidence(size, others))
    return found


Relation = tuple[str, str]


def _relations(base: Mapping[str, int], sizes: list[str]) -> tuple[list[Relation], list[Relation]]:
    """Pairs of which the first divides the second, and pairs of which the first is the smaller."""
    pairs = [(x, y) for x in sizes for y in sizes if x != y]
    return [(x, y) for x, y in pairs if base[y] % base[x] == 0], [(x, y) for x, y in pairs if base[x] < base[y]]


def _broken(
    point: Point, base: Point, moved: Point, sizes: list[str], relations: tuple[list[Relation], list[Relation]]
) -> int:
    divides, below = relations
    other_side = sum((point[n] > base[n]) != (moved[n] > base[n]) for n in sizes)
    # 1 is the one size that broadcasts, and needs no copy: a relation more that the base may not have.
    ones = sum(point[n] == 1 for n in sizes)
    # Kernels want heads, and what they are put together from, in multiples of 8; where the probe was none, they do not.
    odd = sum(base[n] % _ALIGNED == 0 == moved[n] % _ALIGNED and point[n] % _ALIGNED != 0 for n in sizes)
    return (
        sum(point[y] % point[x] != 0 and (base[x] != base[y] or point[x] % point[y] != 0) for x, y in divides)
        + sum(point[x] >= point[y] for x, y in below)
        + 2 * (other_side + ones)
        + 8 * odd  # nothing decides more often
    )


def _choices(value: int, moved: int, shapes_model: bool, near: bool, longer: bool) -> list[int]:
    found = _others(value, shapes_model=shapes_model and not longer, near=near)
    if not shapes_model and value % _ALIGNED == 0 == moved % _ALIGNED:  # odd lengths were refused
        found = [v + -v % _ALIGNED for v in found]
    if near and not longer:
        found = [v for v in found if v < 2 * value or v == value + 72 or shapes_model]
    return [v for v in found if v not in (value, moved) and (v > value or not longer)]


def _shorter(value: int, moved: int) -> list[int]:
    return [v for v in (value // 3 + 2, value * 2 // 3 + 3, value // 5 + 7, value - 9) if v not in (value, moved)]


def _others(value: int, *, shapes_model: bool, near: bool) -> list[int]:
    if shapes_model:
        quarters = [value // 4 * (value % 4 == 0), value * 3 // 4 * (value % 4 == 0), value * 3 // 2 * (value % 2 == 0)]
        return [v for v in (*quarters, 3 * value, 2 * value, 4 * value) if v]
    long = [value + value // 3 + _LONG_STEP, value + value // 5 + 2 * _LONG_STEP]
    return [
        *(() if near else long),
        value + 72,
        value + value // 3 + 3,
        *([] if value < _SHORT else [value // 3 + 2]),
        3 * value,
    ]
