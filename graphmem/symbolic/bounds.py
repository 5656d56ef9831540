"""What is said of a formula's limits: within which values of a symbol it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from graphmem.points import Point, off_by

_AS_FOUND: Point = {}


class Moving(NamedTuple):
    """What a bound moves with: `times` the product of the symbols `by`, divided by the symbols `per`, plus `beside`."""

    by: tuple[str, ...]
    per: tuple[str, ...] = ()
    beside: int = 0
    times: Fraction = Fraction(1)

    def at(self, point: Point) -> Fraction | None:
        """The value at `point`; None where a symbol has none."""
        if not {*self.by, *self.per} <= point.keys():
            return None
        above, below = (math.prod(point[n] for n in names) for names in (self.by, self.per))
        return self.times * above / below + self.beside

    @property
    def quotient(self) -> str:
        """`s`, `b*s`, `u/s`, `1/(b*s)`: the symbols alone, as Python reads them."""
        above, below = "*".join(self.by) or "1", "*".join(self.per)
        return f"{above}/({below})" if len(self.per) > 1 else f"{above}/{below}" if below else above


class Bound(NamedTuple):
    """The last value of symbol `name` at which a formula holds, downwards or `up`.

    moving: what the bound moves with, rounded to the inside; None where it stays.
    refused: beyond the bound the model itself raises an error. untried: nothing was traced there.
    """

    name: str
    value: int
    up: bool
    moving: Moving | None = None
    refused: bool = False
    untried: bool = False

    @property
    def from_two(self) -> bool:
        """Whether it excludes 1, and nothing else."""
        return not self.up and self.value == 2 and not self.moving

    def at(self, point: Point) -> int:
        """The bound's value at `point`: one that equals another symbol, or a part of it, moves with that."""
        exact = self.moving.at(point) if self.moving else None
        if exact is None:
            return self.value
        return math.floor(exact) if self.up else math.ceil(exact)

    def keeps_out(self, point: Point) -> bool:
        """Whether the formula does not hold at `point`."""
        return point[self.name] > self.at(point) if self.up else point[self.name] < self.at(point)

    def text(self, point: Point) -> str:
        """`s <= 512 (P)`: the bound as it is at `point`."""
        moving = self.moving
        moves = f" ({off_by(moving.quotient, moving.beside, moving.times)})" if moving else ""
        return f"{self.name} {'<=' if self.up else '>='} {self.at(point)}{moves}"


class Multiple(NamedTuple):
    """The formula holds where symbol `name`, divided by the symbols `by`, is a multiple of `of`: rows of a mask that
    need no padding, for example, or heads of h/a."""

    name: str
    of: int
    by: tuple[str, ...] = ()

    def step(self, point: Point) -> int:
        """What the symbol is a multiple of at `point`."""
        return _step(self, point)

    def keeps_out(self, point: Point) -> bool:
        """Whether the formula does not hold at `point`."""
        return point[self.name] % self.step(point) != 0

    def text(self, _point: Point) -> str:
        """`s a multiple of 8`, `h/a a multiple of 8`, `h a multiple of a`."""
        if self.of == 1:
            return f"{self.name} a multiple of {' '.join(self.by)}"
        by = f"/{self.by[0]}" if len(self.by) == 1 else f"/({' '.join(self.by)})" if self.by else ""
        return f"{self.name}{by} a multiple of {self.of}"


class Uneven(NamedTuple):
    """The formula holds where symbol `name`, divided by the symbols `by`, is not a multiple of `of`: heads that are
    padded, for example. Those that need no padding run other operators.

    beside: what is added to the symbol first. Of windows of w in ceil(s/2) positions, both s and s + 1 are no multiple
    of 2w."""

    name: str
    of: int
    by: tuple[str, ...] = ()
    beside: int = 0

    def step(self, point: Point) -> int:
        """What the symbol must not be a multiple of at `point`."""
        return _step(self, point)

    def keeps_out(self, point: Point) -> bool:
        """Whether the formula does not hold at `point`."""
        return (point[self.name] + self.beside) % self.step(point) == 0

    def text(self, _point: Point) -> str:
        """`d_head not a multiple of 8`, `s + 1 not a multiple of 2 window`."""
        of = " ".join((*([str(self.of)] if self.of > 1 or not self.by else []), *self.by))
        return f"{off_by(self.name, self.beside)} not a multiple of {of}"


class Unequal(NamedTuple):
    """The formula holds where symbol `name` is not as large as symbol `other`: a projection from one to the other is
    left out where they are equal."""

    name: str
    other: str

    def keeps_out(self, point: Point) -> bool:
        """Whether the formula does not hold at `point`."""
        return point[self.name] == point[self.other]

    def text(self, _point: Point) -> str:
        """`embedding_size other than h`."""
        return f"{self.name} other than {self.other}"


def _step(bound: Multiple | Uneven, point: Point) -> int:
    return bound.of * math.prod(point[n] for n in bound.by)


AnyBound = Bound | Multiple | Uneven | Unequal


def said_of(bounds: Sequence[AnyBound], point: Point = _AS_FOUND, *, kernels: bool = False) -> str:
    """A sentence for the user: where a formula holds, with the bounds as they are at `point` or else as they were
    found, and what happens elsewhere.

    kernels: attention runs a kernel that depends on sizes, so the formula holds where the same one runs.
    """
    refused, untried = ({b for b in bounds if isinstance(b, Bound) and getattr(b, of)} for of in ("refused", "untried"))
    kept = () if {*bounds} == refused | untried and not kernels else ("other sizes are kept",)
    raises = ("the model raises an error",) if refused else ()
    traced = ("nothing was traced",) if untried else ()
    held = (f"for {', '.join(b.text(point) for b in bounds)}",) if bounds else ()
    same = ("where attention runs the same kernels",) if kernels else ()
    return f"the formula holds {' and '.join((*held, *same))}; elsewhere {', or '.join((*kept, *raises, *traced))}"
