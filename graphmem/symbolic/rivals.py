"""Expressions that agree at all points so far, and a point at which they do not.

32 ceil(v/32) and 128 ceil(v/128) are the same at v = 1000, and at 500. At v = 1025 they differ: that is where to trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sympy

from graphmem.points import Point
from graphmem.symbolic.curves import evaluate

# Roundings are to less than this: within so many steps two of them differ.
_FARTHEST = 520
# A model need not take the first value at which two differ: h has to be a multiple of a.
_TRIES = 3


def telling_points(rivals: Iterable[Sequence[sympy.Expr]], base: Point) -> Iterator[Point]:
    """Points beside `base`, with one symbol moved, at which the first of some rivals differs from another one."""
    for first, *others in rivals:
        for other in others:
            for name in sorted({x.name for x in (first - other).free_symbols}):
                yield from _apart(first, other, base, name)


def _apart(first: sympy.Expr, other: sympy.Expr, base: Point, name: str) -> Iterator[Point]:
    points = ({**base, name: base[name] + step} for step in range(1, _FARTHEST))
    differing = (point for point in points if evaluate(first, point) != evaluate(other, point))
    last = 0
    for tried, point in enumerate(differing):
        if tried == _TRIES:
            return
        if point[name] != last + 1:
            yield point
        last = point[name]
