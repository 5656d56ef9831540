"""Sizes of whole windows: what is padded to a multiple of a window, w ceil(s/w), and how many windows there are.

The window is a symbol, or a number that code has: no power of 2 then, and not known beforehand.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

import sympy

from graphmem.points import Point
from graphmem.symbolic.curves import Samples, evaluate, in_blocks, monomial, names_in, symbol

# Powers of the window, and of how many there are: heads of h/a, a padded length, windows of a square, their tokens.
_POWERS = ((1, 1), (0, 1), (0, 2), (2, 2))
_ROUNDINGS = (sympy.floor, sympy.ceiling)


def wholes(seen: Samples, vocabulary: Sequence[sympy.Expr] = ()) -> list[sympy.Expr]:
    """Whole windows, of a symbol or of a size in `vocabulary`, that agree with `seen`."""
    if not {*seen.odd} and not seen.exponents:
        return []
    simple = [x for x in vocabulary if _is_side(x)]
    sizes = [*map(symbol, seen.at_moved), *simple]
    found = [
        one
        for other, size in itertools.product(seen.at_moved, sizes)
        if other not in names_in(size) and not size.is_Integer
        for one in _of_window(seen, size, other)
    ]
    parts = {x for known in vocabulary for x in known.atoms(sympy.ceiling, sympy.floor)}
    for part, power in itertools.product(sorted(parts, key=str), (1, 2)):
        found += _proportional(seen, part**power)
    for size in sizes:
        found += _of_number(seen, size)
    return found


def _is_side(size: sympy.Expr) -> bool:
    """Whether it may be a length: no product of lengths, and no sum."""
    return not size.is_Add and not size.is_Integer and sum(e for _, e in _powers(size) if e > 0) == 1


def _powers(size: sympy.Expr) -> list[tuple[sympy.Expr, int]]:
    return [(x, int(e)) for x, e in size.as_powers_dict().items() if not x.is_Number]


def _of_window(seen: Samples, size: sympy.Expr, window: str) -> Iterator[sympy.Expr]:
    """A monomial times whole windows of `size`, where the window is a symbol."""
    for rounding, (of, many) in itertools.product(_ROUNDINGS, _POWERS):
        yield from _proportional(seen, _windows(rounding, size, symbol(window), of, many))


@lru_cache(maxsize=2**13)
def _windows(rounding: type[sympy.Expr], size: sympy.Expr, window: sympy.Expr, of: int, many: int) -> sympy.Expr:
    return window**of * rounding(size / window) ** many


def _proportional(seen: Samples, whole: sympy.Expr) -> list[sympy.Expr]:
    """A monomial of the other symbols times `whole`, if that agrees with `seen`."""
    names = names_in(whole)
    before = evaluate(whole, seen.base) if {*seen.odd} <= names <= seen.at_moved.keys() else None
    if not before:
        return []
    for moved in names:
        after = evaluate(whole, _moved(seen, moved))
        if after is None or seen.at_base * after != seen.at_moved[moved] * before:
            return []
    rest = {n: e for n, e in seen.exponents.items() if n not in names}
    return [monomial(Fraction(seen.at_base, before), rest, seen.base) * whole]


def _of_number(seen: Samples, size: sympy.Expr) -> Iterator[sympy.Expr]:
    """`size` padded to a multiple of a number that divides all that were seen; nothing but a factor of symbols."""
    names = names_in(size)
    if not {*seen.odd} <= names <= seen.at_moved.keys():
        return
    rest = {n: e for n, e in seen.exponents.items() if n not in names}
    factor = monomial(1, rest, dict.fromkeys(rest, 1))
    here = [(seen.base, seen.at_base), *((_moved(seen, n), seen.at_moved[n]) for n in names)]
    lengths, padded = [], []
    for point, value in here:
        of, length = evaluate(factor, point), evaluate(size, point)
        if not of or not length or value % of or value // of < length:
            return
        lengths.append(length)
        padded.append(value // of)
    for number in _divisors(math.gcd(*padded)):
        if all(-(-n // number) * number == value for n, value in zip(lengths, padded, strict=True)):
            yield factor * number * in_blocks(size, number, up=True)


def _divisors(value: int) -> list[int]:
    return [n for n in range(3, min(value, 4096) + 1) if value % n == 0]


def _moved(seen: Samples, name: str) -> Point:
    return {**seen.base, name: seen.moved[name]}
