"""`Alone`: what symbols show that are moved alone, by as little as the model takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from graphmem.points import Point
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.bounds import Multiple
from graphmem.symbolic.derivation import Proposed
from graphmem.symbolic.nearby import runs_another_kernel
from graphmem.symbolic.points import ALIGNED
from graphmem.symbolic.probes import Probes

# The steps that are tried, smallest first. Kernels want sizes that heads divide aligned.
_STEPS = (1, ALIGNED)


@dataclass(frozen=True, kw_only=True)
class Alone:
    """What symbols moved alone, by as little as the model takes, show.

    steps: by how much each was moved where the formulas held. aligned: multiples that the symbols were, inputs too,
    whose multiples are told with their bounds. The others are those of `Beside`.
    """

    contradicting: list[Aligned] = field(default_factory=list)
    moving: dict[str, Aligned] = field(default_factory=dict)
    multiples: list[Multiple] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    aligned: list[Multiple] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, probes: Probes, proposed: Proposed, divided: Mapping[str, set[str]], held: Point) -> Alone:
        """divided: the symbols, and what divides each. held: a point with all of them moved where the formulas hold, or
        the base."""
        seen, base = cls(), probes.base
        for name, divisors in divided.items():
            unit = math.prod(base[d] for d in divisors)
            found, failed = _alone(probes, proposed, name, unit, held[name] - base[name])
            if isinstance(found, Aligned) and name in proposed.moved:
                seen.contradicting.append(found)
                continue
            if isinstance(found, Aligned):
                seen.moving[name] = found
                continue
            if found:
                seen.steps[name] = found
            if found and found > unit:
                seen.aligned.append(Multiple(name, math.gcd(found, base[name])))
            if failed and name in proposed.model_symbols:
                known = _multiple(probes, proposed, name, divisors, found)
                seen.multiples.extend([known] if known is not None else [])
                out = (
                    (known is not None and known.keeps_out(there)) or not proposed.is_whole(there) for there in failed
                )
                if not divisors and not all(out):
                    seen.unclear.append(name)
        return seen


def _alone(
    probes: Probes, proposed: Proposed, name: str, unit: int, held: int
) -> tuple[Aligned | int | None, list[Point]]:
    """The trace that contradicts the formulas with `name` alone moved, or the least step at which they hold, or None;
    and the points with smaller steps at which the model runs other operators.

    held: a step with which they held, others moved too; 0 where none is known.
    """
    failed: list[Point] = []
    for step in _STEPS:
        if held and step > 1:
            return held, failed
        point = {**probes.base, name: probes.base[name] + step * unit}
        if not probes.affordable():
            break
        trace = probes.at(point)
        if trace is None:
            continue
        if not proposed.misses(trace):
            return step * unit, failed
        found = probes.aligned(trace)
        if found is not None:
            return found, failed
        if not runs_another_kernel(trace, probes):
            failed.append(point)
    return None, failed


def _multiple(probes: Probes, proposed: Proposed, name: str, divisors: set[str], found: int | None) -> Multiple | None:
    """Of what a symbol, or its quotient by its divisors, was a multiple wherever it was traced; None for 1.

    found: the least step at which the formulas hold.
    """
    values = [probes.base, {**probes.base, name: probes.values[name]}, *(there.point for there in proposed.apart)]
    by = tuple(sorted(divisors))
    quotients = [Fraction(point[name], math.prod(point[d] for d in by)) for point in values]
    whole = [int(q) for q in quotients if q.denominator == 1]
    step = [found // math.prod(probes.base[d] for d in by)] if found else []
    known = math.gcd(*whole, *step)
    return Multiple(name, known, by) if known > 1 and name in proposed.moved else None
