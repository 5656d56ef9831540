"""Within which lengths a formula holds: a window cuts off what is longer, and nothing of what is shorter.

One far point on either side tells whether there is a bound at all; where, the model's own integers are asked first.
"""

from __future__ import annotations

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


class Bounds(NamedTuple):
    """The values of a symbol within which the formula holds; None where no bound was found. why: what is there."""

    low: int | None = None
    high: int | None = None
    why: str = ""

    def has(self, value: int) -> bool:
        """Whether `value` is within."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def find_bounds(tracer: Callable[[Point], Trace], derived: Derivation, working: Mapping[str, int]) -> dict[str, Bounds]:
    """Bounds of the lengths of the inputs, for a derivation that is proved. Lengths without any are left out."""
    found = {}
    for name in derived.symbols:
        if name in derived.model_symbols or name in derived.loops or derived.base[name] < _LENGTH:
            continue
        holds = _Holds(tracer, derived, name)
        known = sorted({derived.base[name], working[name], *(p[name] for p in derived.proofs)})
        low, below = _bound(holds, known[0], max(known[0] // FAR, 1) | 1, derived)
        high, above = _bound(holds, known[-1], FAR * known[-1] + _ODD, derived)
        if low is not None or high is not None:
            found[name] = Bounds(low, high, " and ".join(dict.fromkeys(filter(None, (below, above)))))
    return found


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


def _bound(holds: _Holds, known: int, far: int, derived: Derivation) -> tuple[int | None, str]:
    """The last value towards `far` at which the formula holds, and the model's integer that it is; (None, "") where it
    holds there too, or nothing can be traced there."""
    if far == known or holds.at(far) is not False:
        return None, ""
    up = far > known
    between = {
        v: n for n, v in derived.base.items() if n in derived.model_symbols and min(known, far) < v < max(known, far)
    }
    for value in sorted(between, reverse=not up):
        outside = value + 1 if up else value - 1
        if holds.at(value) and holds.at(outside) is False:
            return value, between[value]
    return known, ""
