"""`edge`: the last value of a symbol at which a formula holds, where it does not hold farther on.

The sizes that the model has are tried first, then round numbers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from graphmem.errors import GraphmemError, ModelError, SymbolError
from graphmem.points import Point
from graphmem.record import Trace
from graphmem.symbolic.bounds import Bound
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.probes import following
from graphmem.symbolic.tracer import TraceAt

# A symbol with smaller values than this counts a few things: it is not taken for a length.
LENGTH = 16
# Limits are round: 4096 has one bit, 1536 two.
_ROUND_BITS = 2
# A limit is up to so many times another size, or such a part of it: d_head <= h/4.
_MOST_TIMES = 16


class Holds(NamedTuple):
    """Asks whether the model runs beside `base`, with symbol `name` or others moved, and whether the formula holds."""

    tracer: TraceAt
    derived: Derivation
    base: Point
    name: str = ""

    def at(self, value: int, **others: int) -> bool | None:
        """Whether it does with `name` at `value`."""
        return self.there({**others, self.name: value})

    def there(self, moved: Point) -> bool | None:
        """Whether it does with all of `moved` moved; None where graphmem cannot tell."""
        try:
            return self.derived.holds(self.trace(moved))
        except (ModelError, SymbolError):
            return False
        except GraphmemError:  # an operator without a fake kernel, say: the limit is graphmem's, not the model's
            return None

    def runs_alike(self, moved: Point) -> bool:
        """Whether the model runs there, with the kernels of the base: another kernel is noticed without a bound."""
        try:
            there, here = self.trace(moved), self.trace({})
        except GraphmemError:
            return False
        return there.kernels == here.kernels

    def refuses(self, moved: Point) -> bool:
        """Whether the model raises there."""
        try:
            self.trace(moved)
        except GraphmemError as error:
            return isinstance(error, (ModelError, SymbolError))
        return False

    def trace(self, moved: Point) -> Trace:
        """The trace there; what follows other symbols does so there, too."""
        follows = {name: list(leaders) for name, leaders in self.derived.follows.items()}
        point = following({**self.base, **moved}, self.base, follows)
        if point is None:
            raise SymbolError("sizes that only move together give no whole numbers there")
        return self.tracer(point)


def edge(holds: Holds, known: int, far: int, step: int) -> Bound | None:
    """The last value towards `far` at which the formula holds and the model runs; None if both are so at `far`, too."""
    if far == known or holds.at(far) is not False:
        return None
    up, inside, outside = far > known, known, far
    if holds.at(known) is False:  # a held-out point has other sizes of the model too, and may be longer for that
        inside, outside = holds.base[holds.name], known
    last = _last_of(holds, inside, outside, step if up else -step)
    return bound_at(holds, last, step if up else -step)


def bound_at(holds: Holds, last: int, on: int) -> Bound:
    """The bound that has `last` inside, and a step of `on` from there outside."""
    # A size of 1 broadcasts, whatever the other sizes are.
    by, beside, times = ("", 0, Fraction(1)) if (last, on) == (2, -1) else _moves_with(holds, last, on)
    refused = holds.refuses({holds.name: last + on})
    return Bound(holds.name, last, on > 0, by, beside, refused=refused, times=times)


def _last_of(holds: Holds, inside: int, outside: int, on: int) -> int:
    """The last value at which the formula holds; it holds at `inside`, and not at `outside`. Sizes that the model has
    are tried first."""
    own = holds.derived.model_symbols
    sizes = {v for n, v in holds.base.items() if n != holds.name and (n in own or v >= LENGTH)}
    for value in sorted(sizes, reverse=on < 0):
        for last in (value, value - on):
            if last % on or not min(inside, outside) < last < max(inside, outside):
                continue
            if not holds.at(last):
                outside = last
            elif holds.at(last + on) is False:
                return last
            else:
                inside = last
    step = abs(on)
    return _last(holds, inside // step, outside // step, step)


def _moves_with(holds: Holds, last: int, on: int) -> tuple[str, int, Fraction]:
    """The symbol with which a bound moves, how far off it the bound is, and how many times it: with another value of
    that symbol, the bound is just as far off."""
    found = []
    derived = holds.derived
    apart = {holds.name, *derived.depth, *derived.loops, *derived.follows}
    for name, value in ((n, v) for n, v in holds.base.items() if n not in apart and v > 0):
        for beside in (0, 1, -1):
            times = Fraction(last - beside, value)
            if 1 in (times.numerator, times.denominator) and _is_small(times):
                found.append((times != 1, beside != 0, name, beside, times))
    for *_, name, beside, times in sorted(found):
        value = holds.base[name]
        for moved in (2 * value, value // 2) if on > 0 else (value // 2, 2 * value):
            there = moved * times + beside
            if there.denominator > 1 or there < 1 or not moved:
                continue
            if holds.at(int(there), **{name: moved}) and holds.at(int(there) + on, **{name: moved}) is False:
                return name, beside, times
    return "", 0, Fraction(1)


def _is_small(times: Fraction) -> bool:
    return 0 < times.numerator <= _MOST_TIMES >= times.denominator


def _last(holds: Holds, inside: int, outside: int, step: int) -> int:
    """The last multiple of `step` at which the formula holds; it holds at `inside` steps, and not at `outside` steps.

    By bisection, but at round numbers: a limit is usually round, or one off.
    """
    while abs(outside - inside) > 1:
        middle = _roundest(inside, outside)
        on = 1 if outside > inside else -1
        held = holds.at(middle * step)
        inside, outside = (middle, outside) if held else (inside, middle)
        near = max(inside, outside) <= 2 * min(inside, outside)
        if near and middle.bit_count() <= _ROUND_BITS and abs(outside - inside) > 1:
            beside = middle + on if held else middle - on
            inside, outside = (beside, outside) if holds.at(beside * step) else (inside, beside)
    return inside * step


def _roundest(one: int, other: int) -> int:
    """The number strictly between the two that is divisible by the highest power of 2."""
    low, high = sorted((one, other))
    power = 1 << (high - low).bit_length()
    while (high - 1) // power == low // power:
        power //= 2
    return (high - 1) // power * power
