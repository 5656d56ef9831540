"""Expressions that agree at all points so far, and a point at which they do not.

32 ceil(v/32) and 128 ceil(v/128) are the same at v = 1000, and at 500. At v = 1025 they differ: that is where to trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import sympy

from graphmem.points import Point
from graphmem.symbolic.curves import evaluate

# Roundings are to less than this: within so many steps two of them differ.
_FARTHEST = 520


def telling_points(first: sympy.Expr, other: sympy.Expr, base: Point) -> Iterator[tuple[str, Point]]:
    """Points beside `base`, with one symbol moved, at which the two differ, with the name of that symbol.

    Points that what divides the symbol at `base` still divides come first: h has to be a multiple of a, in most models.
    Of each stretch of such points there is the first: a model that refuses it may take the next one.
    """
    for name in sorted({x.name for e in (first, other) for x in e.free_symbols}):
        for unit in dict.fromkeys((_unit(name, base), 1)):
            points = ({**base, name: base[name] + step} for step in range(0, _FARTHEST, unit))
            differing = ((point, evaluate(first, point) != evaluate(other, point)) for point in points)
            for (_, before), (point, here) in pairwise(differing):
                if here and not before:
                    yield name, point


def _unit(name: str, base: Point) -> int:
    """The least step that keeps what divides the symbol at `base`."""
    return math.lcm(*(v for n, v in base.items() if n != name and 0 < v < base[name] and base[name] % v == 0))
