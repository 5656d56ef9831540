"""Roundings that look like something simpler in the samples: 512 ceil(v/512) is v at 1024, and at 2048."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import sympy

from graphmem.symbolic.curves import (
    Samples,
    names_in,
    patches,
    rounded,
    symbol,
    without,
)
from graphmem.symbolic.wholes import wholes

_PARTS, _MOST_PARTS = (2, 3, 4, 8), 16  # fractions of a size that feed-forwards have: 8/3, 7/2, 21/8

_NEAREST = (2, 3, 4, 5, 6, 8, 10, 12, 16)  # parts of a size that are rounded to the nearest


def disguised(seen: Samples, vocabulary: Sequence[sympy.Expr] = ()) -> list[sympy.Expr]:
    """Roundings that agree with `seen`, also where something simpler does: 512 ceil(v/512) looks like v at 1024 and at
    2048; and of fractions of a symbol, as 256 ceil(floor(8h/3)/256)."""
    exponents, odd = seen.exponents, set(seen.odd)
    moving = [*exponents, *seen.odd]
    # First what heads leave of a size: where h/a stays the same, any other rounding would do, too.
    found = wholes(seen, vocabulary)
    for name in moving:
        if odd <= {name}:
            parts, rest = [*_fractions(name), *_nearest(name)], without(exponents, name)
            found += rounded(seen, rest, [name], parts, multiples=(1,))
    for size in (*map(symbol, moving), *vocabulary, *(f for name in moving for f in _fractions(name))):
        names = sorted(names_in(size))
        if odd <= set(names) <= set(moving):
            rest = {n: e for n, e in exponents.items() if n not in names}
            found += rounded(seen, rest, names, [size])
    if not odd:
        regular = {n: e for n, e in exponents.items() if e > 0}
        divisors = [n for n in exponents if n not in regular]
        for name in regular:
            found += patches(seen, without(regular, name), [name, *divisors])
    return list(dict.fromkeys(found))


@cache
def _fractions(name: str) -> list[sympy.Expr]:
    """Fractions of a symbol, as code computes them: int(8 * h / 3)."""
    fractions = {Fraction(p, q) for q in _PARTS for p in range(1, _MOST_PARTS + 1)}
    return [sympy.floor(sympy.Rational(f.numerator, f.denominator) * symbol(name)) for f in sorted(fractions) if f != 1]


@cache
def _nearest(name: str) -> list[sympy.Expr]:
    """Parts of a symbol, rounded to the nearest as Python does, halves to the even one: round(h / 4). These two sum up
    to that: of 2.5 they are 1 and 1, of 3.5 they are 2 and 2."""
    halves = [symbol(name) / (2 * part) for part in _NEAREST]
    quarter = sympy.Rational(1, 4)
    return [sympy.floor(half + quarter) + sympy.ceiling(half - quarter) for half in halves]
