"""Which points to trace: some with one symbol moved, and some with all moved, which nothing is derived from."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from graphmem.points import Point

# A far size is FAR times as large, and made odd by this pattern of bits: no block or window has such a size.
FAR, ODD = 8, 37
COUNTS = 64  # a symbol of the model with smaller values counts heads, experts or groups
_TRIES = 8
# Probes move a length by more than 32, to which kernels round; held-out points by more than 256, to which tables and
# blocks round. So a rounding up shows: the two lengths are not rounded to the same multiple.
_BEYOND_32, _BEYOND_256 = 37, 259
# Kernels want heads, and sizes that are made up of heads, in multiples of 8; masks have rows of multiples of 8.
ALIGNED = 8
# A length that is a multiple of 8, and of little else: 8 times 13.
_ODD_ALIGNED = 104
# In a layer, one size is up to so many times another on purpose: 4h, 8/3 h.
_MULTIPLE = 16
# Lengths below this are only made longer: very short inputs are special.
_SHORT = 64
# What it costs a held-out point to break something that the base has, where a coincidence that it keeps costs 1. The
# order matters, and is a judgement of what makes models refuse a point or run other operators there: most often a size
# that is not a multiple of 8; less often one of 1, or one on the other side of the base than the accepted probe; then a
# relation between two sizes. A coincidence costs least: further points can break it.
_RELATION, _SIDE, _ALIGNMENT = 4, 8, 32


def moves(value: int, *, shapes_model: bool) -> list[int]:
    """Other values for a symbol; those that a model is most likely to accept come first.

    Sizes of the inputs are moved to something odd, and by more than any rounding. Sizes of the model have divisors to
    respect and limits to stay under (a larger head may need another kernel), so they are halved first.
    """
    if shapes_model:
        tries = [value // 2 if value % 2 == 0 else 0, 2 * value, 3 * value, value * 3 // 2, value + 1, value - 1]
    else:
        odd = [value + value // 2 + _BEYOND_32, value + value // 2 + 5, value // 2 + 3]
        aligned = value + (value // 2 + 40) // ALIGNED * ALIGNED  # with the divisors of before
        tries = [odd[0], aligned, *odd[1:], 2 * value, value // 2, value - 1]
    return [v for v in dict.fromkeys(tries) if v > 0 and v != value]


def longest(value: int) -> int:
    """What no input of size `value` exceeds at any of these points."""
    return 3 * value + 2 * _BEYOND_256 + 2


def held_out(
    base: Point,
    moved: Point,
    model_symbols: frozenset[str],
    *,
    loops: Collection[str] = (),
    full: Collection[str] = (),
    near: bool = False,
) -> Iterator[Point]:
    """Points that differ from `base` in every symbol of `moved`, at values that no probe had, most promising first.

    They are drawn at random and then adjusted, so that they break little of what the base has: which sizes divide
    which, which of two is larger, and on which side of the base the probe was accepted. A model may depend on any of
    these, or on none. After these points come some in which everything has grown.

    Args:
        loops: symbols that count the turns of a loop. They only grow, since a loop of few turns may have a first and a
            last one only; but they do not grow beyond the largest rounding.
        full: symbols of which the base has nearly all that the model accepts. They shrink.
        near: inputs do not become much longer than at the base.
    """
    choices = {n: _choices(base[n], moved[n], n in model_symbols, near or bool(loops), n in loops) for n in moved}
    choices |= {n: _shorter(base[n], moved[n]) for n in moved if n in full}
    sizes = [n for n in moved if n in model_symbols and n not in loops]
    relations, chances = _relations(base, sizes), coincidences(base, list(moved))

    def broken(point: Point) -> int:
        # Of two sizes that are equal by chance a point proves which one it is only where they differ.
        return _broken(point, base, moved, sizes, relations) + sum(c.holds_at(point, base) for c in chances)

    yield from sorted(_drawn(base, choices, sizes, broken), key=broken)[:_TRIES]
    yield from _all_grown(base, moved, model_symbols)


def _drawn(
    base: Point, choices: Mapping[str, list[int]], sizes: list[str], broken: Callable[[Point], int]
) -> list[Point]:
    """Points at random, in which each of `sizes` is then exchanged for the choice that breaks least."""
    chance, drawn = random.Random(0), list[Point]()
    for _ in range(2 * _TRIES):
        point = {**base, **{n: chance.choice(values) for n, values in choices.items()}}
        for name in chance.sample(sizes, len(sizes)) * 2:
            point = min(({**point, name: v} for v in chance.sample(choices[name], len(choices[name]))), key=broken)
        if point not in drawn:
            drawn.append(point)
    return drawn


def _all_grown(base: Point, moved: Point, model_symbols: frozenset[str]) -> Iterator[Point]:
    for factor in (3, 2, 5):
        for aligned in (False, True):
            grown = {n: _grown(base[n], factor, n in model_symbols, aligned=aligned) for n in moved}
            yield {**base, **grown}


def _grown(value: int, factor: int, shapes_model: bool, *, aligned: bool) -> int:
    """A model's size times `factor`, which keeps what divides what; an input's length by something odd, or aligned."""
    if shapes_model:
        return value * factor
    return value + (_ODD_ALIGNED * factor if aligned else value // 3 + 3)


class Coincidence(NamedTuple):
    """At the base `size` is a small multiple of the product of `others`: on purpose, or by chance."""

    size: str
    others: tuple[str, ...]

    def holds_at(self, point: Point, base: Point) -> bool:
        """Whether the multiple is the same at `point`."""
        there, here = (math.prod(p[n] for n in self.others) for p in (point, base))
        return point[self.size] * here == base[self.size] * there


def next_aligned(value: int) -> int:
    """The next multiple of 8 that is not one of 16."""
    return value + (ALIGNED - value) % (2 * ALIGNED)


def coincidences(base: Point, names: Sequence[str]) -> list[Coincidence]:
    """All coincidences between two sizes, and between a size and a product of two."""
    found = []
    for others in (*((n,) for n in names), *itertools.combinations_with_replacement(names, 2)):
        product = math.prod(base[n] for n in others)
        for size in names:
            multiple, rest = divmod(base[size], product)
            if size not in others and not rest and 1 <= multiple <= _MULTIPLE and product > 1:
                found.append(Coincidence(size, others))
    return found


Relation = tuple[str, str]


def _relations(base: Point, sizes: list[str]) -> tuple[list[Relation], list[Relation]]:
    """Pairs in which the first size divides the second, and pairs in which the first is the smaller one."""
    pairs = [(x, y) for x in sizes for y in sizes if x != y]
    return [(x, y) for x, y in pairs if base[y] % base[x] == 0], [(x, y) for x, y in pairs if base[x] < base[y]]


def _broken(
    point: Point, base: Point, moved: Point, sizes: list[str], relations: tuple[list[Relation], list[Relation]]
) -> int:
    """How much `point` breaks of what `base` has, weighed by how often that decides whether a model accepts it."""
    divides, below = relations
    # Of two equal sizes either may divide the other.
    undivided = sum(point[y] % point[x] != 0 and (base[x] != base[y] or point[x] % point[y] != 0) for x, y in divides)
    reversed_ = sum(point[x] >= point[y] for x, y in below)
    other_side = sum((point[n] > base[n]) != (moved[n] > base[n]) for n in sizes)
    # A size of 1 broadcasts and needs no copy, which no other size does.
    ones = sum(point[n] == 1 for n in sizes)
    # Where the probe was not a multiple of 8 either, the model has shown that it does not need one.
    unaligned = sum(base[n] % ALIGNED == 0 == moved[n] % ALIGNED and point[n] % ALIGNED != 0 for n in sizes)
    return _RELATION * (undivided + reversed_) + _SIDE * (other_side + ones) + _ALIGNMENT * unaligned


def _choices(value: int, moved: int, shapes_model: bool, near: bool, longer: bool) -> list[int]:
    """Values for a held-out point, of a symbol that a probe moved from `value` to `moved`. longer: only larger ones."""
    found = _others(value, shapes_model=shapes_model and not longer, near=near)
    if not shapes_model and value % ALIGNED == 0 == moved % ALIGNED:  # the first probe was odd, and was refused
        found = [v + -v % ALIGNED for v in found]
    if near and not longer:
        found = [v for v in found if v < 2 * value or v == value + 72 or shapes_model]
    return [v for v in found if v not in (value, moved) and (v > value or not longer)]


def _shorter(value: int, moved: int) -> list[int]:
    """Values below `value`, for an input that is as long as the model accepts."""
    return [v for v in (value // 3 + 2, value * 2 // 3 + 3, value // 5 + 7, value - 9) if v not in (value, moved)]


def _others(value: int, *, shapes_model: bool, near: bool) -> list[int]:
    if shapes_model:
        quarters = [value // 4 * (value % 4 == 0), value * 3 // 4 * (value % 4 == 0), value * 3 // 2 * (value % 2 == 0)]
        return [v for v in (*quarters, 3 * value, 2 * value, 4 * value) if v]
    long = [value + value // 3 + _BEYOND_256, value + value // 5 + 2 * _BEYOND_256]
    return [
        *(() if near else long),
        value + 72,
        value + value // 3 + 3,
        *([] if value < _SHORT else [value // 3 + 2]),
        3 * value,
    ]
