"""A point: a value for every symbol. What a model is traced at, and what a formula is evaluated at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

Point = Mapping[str, int]
Key = tuple[tuple[str, int], ...]
_ONCE = Fraction(1)


def key(point: Point) -> Key:
    """The point as a dictionary's key: the order of its symbols does not matter."""
    return tuple(sorted(point.items()))


def as_text(point: Point, separator: str = " ") -> str:
    """`b=8 s=1024`; "" for a point without symbols."""
    return separator.join(f"{name}={value}" for name, value in point.items())


def off_by(name: str, by: int, times: Fraction = _ONCE) -> str:
    """`P - 1`; `P` alone for 0; `4*P`, or `P/4`, where it is not taken once; `512/P` of 1/P. Python reads it, too."""
    plain = name.removeprefix("1") if name.startswith("1/") else f"*{name}"
    most = f"{times.numerator}{plain}" if times.numerator > 1 else name
    part = f"{most}/{times.denominator}" if times.denominator > 1 else most
    return f"{part} {'+' if by > 0 else '-'} {abs(by)}" if by else part


@dataclass(frozen=True, kw_only=True)
class Room:
    """Sizes of a model that limit how long its inputs may be: a block size, rows of a table of positions.

    limits: each of them, with the symbols of the inputs that it limits. working: the working point.
    """

    limits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    working: Point = field(default_factory=dict)

    def at(self, point: Point) -> dict[str, int]:
        """`point` with the limits that an input exceeds raised: as far above it as they are at the working point.

        A limit that no input reaches stays as it is, since a buffer of that size would move with it.
        """
        raised = {}
        for name in self.limits:
            longest, usual = self._longest(name, point), self._longest(name, self.working)
            if longest > point[name]:
                raised[name] = longest + max(self.working[name] - usual, 0)
        return {**point, **raised}

    def above(self, point: Point, most: Callable[[int], int]) -> dict[str, int]:
        """`point` with limits that are multiples of what they are, and not below what `most` says of the inputs."""
        raised = dict(point)
        for name in self.limits:
            while raised[name] < most(self._longest(name, point)):
                raised[name] *= 2
        return raised

    def _longest(self, name: str, point: Point) -> int:
        return max((point[of] for of in self.limits[name] if of in point), default=0)
