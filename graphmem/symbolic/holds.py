"""`Holds`: whether a formula holds at a point, and whether the model runs there."""

from __future__ import annotations

from typing import NamedTuple

from graphmem.errors import GraphmemError, ModelError, SymbolError
from graphmem.points import Point
from graphmem.record import Trace
from graphmem.symbolic.bounds import Uneven
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.probes import following
from graphmem.symbolic.tracer import TraceAt

_NEXT = 4  # so many values are looked at for one that is not uneven


class Holds(NamedTuple):
    """Asks whether the model runs beside `base`, with symbol `name` or others moved, and whether the formula holds.

    uneven: where the formula is known not to hold, whatever the bounds are: the next value is asked for instead.
    """

    tracer: TraceAt
    derived: Derivation
    base: Point
    name: str = ""
    uneven: tuple[Uneven, ...] = ()

    def at(self, value: int, **others: int) -> bool | None:
        """Whether it does with `name` at `value`."""
        for moved in ({**others, self.name: value + more} for more in range(_NEXT)):
            if not any(uneven.keeps_out({**self.base, **moved}) for uneven in self.uneven):
                return self.there(moved)
        return None  # every length is a multiple of a window of 1

    def there(self, moved: Point) -> bool | None:
        """Whether it does with all of `moved` moved; None where graphmem cannot tell, or refuses the point anyway."""
        if not self.derived.is_whole({**self.base, **moved}):
            return None
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


def shallow(tracer: TraceAt, derived: Derivation) -> Point:
    """The base with one layer of each kind, if that keeps all that more layers keep: half the operators to trace."""
    one = {**derived.base, **derived.periods}
    made = [
        {(g.key.made_in, g.key.op, g.size) for g in derived.groups if g.count.at(point) > 0}
        for point in (derived.base, one)
    ]
    try:
        alike = derived.depth and made[0] == made[1] and derived.holds(tracer(one))
    except GraphmemError:  # the model may not run with a single layer: then the base is used as it is
        alike = False
    return one if alike else derived.base
