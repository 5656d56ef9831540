"""Points at which to ask a report: random ones within the limits that it states."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

PRIMES = (2, 3, 5, 7, 11, 13, 17, 23, 31, 37, 61, 67, 97, 127, 131, 251, 257, 509, 521, 1021, 2053)
BLOCKS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
MOST = 6000  # no input is longer, unless it is at the working point


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where points are drawn: the working point, the symbols that move, and the limits of each.

    limits: symbol, least, most, multiple of, not multiple of; layers: symbols that count layers.
    """

    working: Mapping[str, int]
    free: tuple[str, ...]
    limits: tuple[tuple[str, int | None, int | None, int | None, int | None], ...] = ()
    layers: Collection[str] = ()

    @classmethod
    def of(cls, report) -> Room:
        """What a report says. What it calls fixed does not move; what it leaves out moves: that may be wrong."""
        derived = report.analysis.derived
        fixed = {*derived.refused, *derived.follows}
        return cls(
            working=report.analysis.working,
            free=tuple(n for n in report.analysis.working if n not in fixed),
            limits=tuple(
                (x.symbol, x.least, x.most, *((None, None) if x.by else (x.multiple_of, x.not_multiple_of)))
                for x in report.limits
            ),
            layers=frozenset(derived.depth),
        )

    def admits(self, name: str, value: int) -> bool:
        """Whether the limits of a symbol admit a value."""
        return value >= 1 and not any(
            (least is not None and value < least)
            or (most is not None and value > most)
            or (of and value % of)
            or (uneven and value % uneven == 0)
            for symbol, least, most, of, uneven in self.limits
            if symbol == name
        )

    def draw(self, chance: random.Random) -> dict[str, int]:
        """A point: some symbols, or all of them, moved. Most points keep what divides what."""
        if not self.free:
            return {}
        several = chance.choice((1, 1, 2, 3, len(self.free)))
        moved = chance.sample(self.free, min(several, len(self.free)))
        point = {name: self._value(name, chance) for name in moved}
        if chance.random() < 0.8:
            self._keep_divisors(point, chance)
        return {n: v for n, v in point.items() if self.admits(n, v) and v != self.working[n]}

    def _value(self, name: str, chance: random.Random) -> int:
        here = self.working[name]
        if name in self.layers:
            of = next((of for symbol, _, _, of, _ in self.limits if symbol == name and of), 1)
            return of * chance.randint(1, max(8 // of, 2))
        block = chance.choice(BLOCKS)
        tries = (
            here + 1, here - 1, here + 2, here // 2, here * 2, here * 3, chance.choice(PRIMES), chance.choice(PRIMES),
            chance.randint(1, max(2 * here, 4)), block * chance.randint(1, max(2 * here // block, 2)),
            block * chance.randint(1, max(2 * here // block, 2)) + chance.choice((-1, 1)), here + block, here - block,
        )  # fmt: skip
        allowed = [value for value in tries if self.admits(name, value) and value <= max(MOST, here)]
        return chance.choice(allowed or [here])

    def _keep_divisors(self, point: dict[str, int], chance: random.Random) -> None:
        """Where one model's size is a multiple of another at the working point, it is one here, too."""
        pairs = [(x, y) for x in self.free for y in self.free if x != y and 1 < self.working[y] < self.working[x]]
        for size, part in pairs:
            if self.working[size] % self.working[part] or not {size, part} & point.keys() or {size, part} & set("bsvL"):
                continue
            by = point.get(part, self.working[part])
            value = point.get(size, self.working[size])
            if value % by:
                down, up = value // by * by, -(-value // by) * by
                point[size] = chance.choice([v for v in (down, up) if v > 0])


def fewest(point: dict[str, int], is_wrong: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """The point with as few symbols moved as still make it wrong."""
    for name in list(point):
        less = {n: v for n, v in point.items() if n != name}
        if is_wrong(less):
            point = less
    return point
