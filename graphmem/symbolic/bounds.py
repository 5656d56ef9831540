"""Within which lengths a formula holds: a window cuts off what is longer, and nothing of what is shorter.

One far point on either side tells whether there is a bound at all; where, the model's own integers are asked first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from graphmem.errors import GraphmemError
from graphmem.symbolic.derive import Derivation
from graphmem.trace.record import Trace

Point = dict[str, int]
# How far off is looked, as a factor; an odd number of positions more, as no block or window is long.
FAR, _ODD = 8, 37
# What is shorter is no length.
_LENGTH = 16


class Bound(NamedTuple):
    """The last value of symbol `name` at which a formula holds, downwards or `up`. by: the model's integer it is."""

    name: str
    value: int
    up: bool
    by: str = ""

    def at(self, point: Mapping[str, int]) -> int:
        """The same at `point`: a bound that is one of the model's integers goes with it."""
        return point.get(self.by, self.value)

    def keeps_out(self, point: Mapping[str, int]) -> bool:
        """Whether the formula does not hold at `point`."""
        return point[self.name] > self.at(point) if self.up else point[self.name] < self.at(point)

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.up else '>='} {self.value}{f' ({self.by})' if self.by else ''}"


class Multiple(NamedTuple):
    """The formula holds where symbol `name` is a multiple of `of`: a mask's rows are as long as a kernel wants them."""

    name: str
    of: int

    def keeps_out(self, point: Mapping[str, int]) -> bool:
        """Whether the formula does not hold at `point`."""
        return point[self.name] % self.of != 0

    def __str__(self) -> str:
        return f"multiples of {self.of} as {self.name}"


def find_bounds(
    tracer: Callable[[Point], Trace], derived: Derivation, working: Mapping[str, int]
) -> tuple[Bound | Multiple, ...]:
    """Bounds of the lengths of the inputs, for a derivation that is proved."""
    found: list[Bound | Multiple] = []
    for name in derived.symbols:
        if name in derived.model_symbols or name in derived.loops or derived.base[name] < _LENGTH:
            continue
        holds = _Holds(tracer, derived, name)
        known = sorted({derived.base[name], working[name], *(p[name] for p in derived.proofs)})
        low, high = max(known[0] // FAR, 1), FAR * known[-1]
        if holds.at(low | 1) is not False and holds.at(high | _ODD) is not False:
            continue
        # Lengths that were all even, say, prove nothing for odd ones.
        step = math.gcd(derived.values[name], *known)
        low, high = (low, high) if step == 1 else (max(low // step, 1) * step, high // step * step)
        found += [
            bound for bound in (_bound(holds, known[0], low, step), _bound(holds, known[-1], high, step)) if bound
        ]
        if step > 1 and holds.at(derived.base[name] + 1) is False:
            found.append(Multiple(name, step))
    return tuple(found)


class _Holds(NamedTuple):
    """Whether the formula holds with one symbol of the base moved; None where that cannot be traced."""

    tracer: Callable[[Point], Trace]
    derived: Derivation
    name: str

    def at(self, value: int) -> bool | None:
        try:
            return self.derived.holds(self.tracer({**self.derived.base, self.name: value}))
        except GraphmemError:
            return None


def _bound(holds: _Holds, known: int, far: int, step: int) -> Bound | None:
    """The last value towards `far` at which the formula holds; None where it holds there too, or that cannot be
    traced."""
    if far == known or holds.at(far) is not False:
        return None
    up, base, sizes = far > known, holds.derived.base, holds.derived.model_symbols
    low, high = sorted((known, far))
    between = {v: n for n, v in base.items() if n in sizes and low < v < high and v % step == 0}
    for value in sorted(between, reverse=not up):
        if holds.at(value) and holds.at(value + step if up else value - step) is False:
            return Bound(holds.name, value, up, between[value])
    return Bound(holds.name, known, up)
