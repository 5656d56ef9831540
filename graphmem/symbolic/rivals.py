"""Expressions that agree at all points so far, and a point at which they do not.

32 ceil(v/32) and 128 ceil(v/128) are the same at v = 1000, and at 500. At v = 1025 they differ: that is where to trace.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import sympy

from graphmem.points import Point
from graphmem.symbolic.curves import evaluate
from graphmem.symbolic.points import ALIGNED

Pair = tuple[sympy.Expr, sympy.Expr]

# What sizes are rounded to is usually a power of 2, or a few times one: beside these two roundings differ.
_STEPS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 20, 24, 25, 31, 32, 33, 40, 48, 49, 56, 63, 64, 65, 96, 97),
    *(127, 128, 129, 192, 193, 255, 256, 257, 384, 385, 511, 512, 513),
)

# What is smaller than this at the base counts layers, heads or experts, and is not made more than so many times as
# large: a forward of a thousand layers takes long, and may end the process where its graph is freed.
_FEW, _MOST_TIMES = 16, 16
_MORE = (1, 2, 3, 4, 8)  # so many heads are added


class Telling(NamedTuple):
    """A point beside the base with symbol `name` moved by a multiple of `unit`: what divides it there, 8, or 1. Or with
    a symbol that divides it moved, too, as heads of the same size, or of a larger one, are added: then `unit` is below
    0."""

    name: str
    unit: int
    point: Point


class Rivals:
    """Where pairs of expressions differ, among points beside `base`. What was worked out is remembered."""

    def __init__(self, base: Point) -> None:
        self._base = base
        self._points: dict[str, list[Telling]] = {}
        self._values: dict[tuple[sympy.Expr, str], list[int | None]] = {}

    def telling(self, first: sympy.Expr, other: sympy.Expr) -> Iterator[Telling]:
        """The points at which the two differ. Those that what divides a symbol at the base still divides come first: h
        has to be a multiple of a, in most models."""
        for name in sorted({x.name for e in (first, other) for x in e.free_symbols}):
            values = zip(self._beside(name), self._at(first, name), self._at(other, name), strict=True)
            yield from (point for point, one, two in values if one != two)

    def most_telling(self, pairs: Iterable[Pair]) -> list[Telling]:
        """The points at which most of the pairs differ."""
        told: Counter[int] = Counter()
        known: dict[int, Telling] = {}
        for pair in pairs:
            for point in self.telling(*pair):
                told[id(point)] += 1
                known[id(point)] = point
        return [known[i] for i, _ in told.most_common()]

    def _beside(self, name: str) -> list[Telling]:
        if name not in self._points:
            here, unit = self._base[name], _unit(name, self._base)
            units = dict.fromkeys((unit, ALIGNED, 1))
            moved = {here + step * of: of for of in reversed(units) for step in _STEPS}
            if here < _FEW:
                moved = {value: of for value, of in moved.items() if value <= _MOST_TIMES * here}
            self._points[name] = [
                Telling(name, of, {**self._base, name: value})
                for value, of in sorted(moved.items(), key=lambda x: [*units].index(x[1]))
            ]
            self._points[name] += self._with_divisors(name)
        return self._points[name]

    def _with_divisors(self, name: str) -> Iterator[Telling]:
        here = self._base[name]
        for by, value in self._base.items():
            if by != name and 1 < value < here and here % value == 0:
                for wider, more in itertools.product((0, ALIGNED), _MORE):
                    size = (here // value + wider) * (value + more)
                    yield Telling(name, -value - wider, {**self._base, by: value + more, name: size})

    def _at(self, expression: sympy.Expr, name: str) -> list[int | None]:
        key = (expression, name)
        if key not in self._values:
            self._values[key] = [evaluate(expression, point) for _, _, point in self._beside(name)]
        return self._values[key]


def _unit(name: str, base: Point) -> int:
    """The least step that keeps what divides the symbol at `base`."""
    return math.lcm(*(v for n, v in base.items() if n != name and 0 < v < base[name] and base[name] % v == 0))
