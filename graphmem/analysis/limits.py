"""`limits`: the rows of a report that say where its formula does not hold."""

from __future__ import annotations

from dataclasses import replace

from graphmem.analysis.analysis import Analysis
from graphmem.points import Point
from graphmem.report import Limit
from graphmem.symbolic.bounds import AnyBound, Multiple, Unequal, Uneven


def limits(analysis: Analysis, point: Point) -> tuple[Limit, ...]:
    """Everything beyond which the formula does not hold, or was not proved."""
    derived = analysis.derived
    lowest = {name: min(derived.base[name], analysis.working[name]) for name in derived.loops}
    return (
        *(_limit(bound, point) for bound in analysis.bounds),
        *(Limit(name, least=turns) for name, turns in lowest.items()),
        *(Limit(name, equals=str(derived.following(name))) for name in derived.follows),
    )


def _limit(bound: AnyBound, point: Point) -> Limit:
    """The row of a bound."""
    if isinstance(bound, Multiple):
        return Limit(bound.name, multiple_of=bound.of, by="*".join(bound.by) or None)
    if isinstance(bound, Uneven):
        return Limit(bound.name, not_multiple_of=bound.of, by="*".join(bound.by) or None, beside=bound.beside)
    if isinstance(bound, Unequal):
        return Limit(bound.name, not_equals=bound.other)
    value = bound.at(point)
    least, most = (None, value) if bound.up else (value, None)
    limit, moving = Limit(bound.name, least=least, most=most, refused=bound.refused), bound.moving
    if moving is None:
        return limit
    return replace(limit, by=moving.quotient, beside=moving.beside, times=str(moving.times))
