"""Expressions that agree at all points so far, and a point at which they do not.

32 ceil(v/32) and 128 ceil(v/128) are the same at v = 1000, and at 500. At v = 1025 they differ: that is where to trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import sympy

from graphmem.points import Point
from graphmem.symbolic.curves import evaluate

# Roundings are to less than this: within so many steps two of them differ.
_FARTHEST = 520


def telling_points(first: sympy.Expr, other: sympy.Expr, base: Point) -> Iterator[Point]:
    """Points beside `base`, with one symbol moved, at which the two differ.

    Of each stretch of such points there is the first: a model that refuses it, since h has to be a multiple of a, may
    take the next one.
    """
    for name in sorted({x.name for e in (first, other) for x in e.free_symbols}):
        points = ({**base, name: base[name] + step} for step in range(_FARTHEST))
        differing = (evaluate(first, point) != evaluate(other, point) for point in points)
        for step, (before, here) in enumerate(pairwise(differing), 1):
            if here and not before:
                yield {**base, name: base[name] + step}
