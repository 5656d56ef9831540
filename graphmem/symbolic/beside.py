"""Points beside the base: they show a size that is rounded.

Multiples of a size cannot. A vocabulary of 50,176 that is padded to a multiple of 512 looks like v itself at half of
it, at twice and at three times. So every symbol is also moved by as little as the model takes: v + 1 tells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import sympy

from graphmem.points import Point
from graphmem.record import Trace
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.alone import Alone
from graphmem.symbolic.bounds import Multiple
from graphmem.symbolic.derivation import Proposed
from graphmem.symbolic.dims import Dims
from graphmem.symbolic.nearby import (
    aligned_of,
    beside_the_next,
    only_together,
    runs_another_kernel,
    stepped,
    ties_of,
    undivided,
    with_divisors,
    within_all,
)
from graphmem.symbolic.points import ALIGNED, next_aligned
from graphmem.symbolic.probes import Probes

# Inputs are moved by more than sizes of the model: of 65 positions windows of 8 and of 9 both make 72.
_INPUT_STEP = 11
# Nor are sizes of the model all moved by 1: an image of 33 has whole patches of 3, as one of 32 has of 2.
_ODD_STEPS = (1, 3, 5, 7)
_MOST_FURTHER = 16  # a size is moved by so much more at most to share no factor with others
_ROUNDED = 32  # the efficient kernel's logsumexp


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What points beside the base show.

    contradicting: traces that run the same operators and keep other sizes than the formulas say.
    moving: those with a symbol alone moved whose probe had moved no size, by chance.
    multiples: symbols, or quotients of them, that run other operators at small steps: the formulas hold for these only.
    unclear: symbols that do, and have no multiple: the formulas are for their base value.
    """

    contradicting: tuple[Aligned, ...] = ()
    moving: Mapping[str, Aligned]
    multiples: tuple[Multiple, ...] = ()
    unclear: tuple[str, ...] = ()


def look_beside(probes: Probes, proposed: Proposed) -> Beside:
    """Move all symbols a little, at once; where that does not hold, each of them alone.

    What divides another size at the base still does only where the model wants it so: patches need not fill an image.
    """
    names = [n for n in probes.values if n not in probes.repeats and n not in probes.follows]
    with probes.looking():
        seen = _looked(probes, proposed, names)
        # Where no more operators may be traced, something was not looked at.
        return seen if probes.affordable() else replace(seen, unclear=tuple(names))


def _looked(probes: Probes, proposed: Proposed, names: list[str]) -> Beside:
    base, together = probes.base, None
    divided, ties = divisors_of(proposed, names), ties_of(probes, names)
    aligned = aligned_of(probes, proposed, divided)
    for kept in ({n: set[str]() for n in names}, divided) if not proposed.trace.sdpa else (divided,):
        point = {**base, **_together(base, names, kept, proposed, aligned, ties)}
        trace = probes.at(point)
        if trace is not None and not proposed.misses(trace):
            alone = Alone.of(probes, proposed, {n: divided[n] for n in aligned}, point)
            still = {n: by for n, by in divided.items() if point[n] % math.prod(point[d] for d in by) == 0}
            steps = {**{n: 1 for n in names if n not in {*aligned, *ties, *ties.values()}}, **alone.steps}
            return Beside(
                contradicting=(
                    *alone.contradicting,
                    *stepped(probes, proposed, steps, divided),
                    *beside_the_next(probes, proposed),
                ),
                moving=alone.moving,
                multiples=(*alone.multiples, *undivided(probes, proposed, still)),
                unclear=tuple(alone.unclear),
            )
        if trace is not None:
            divided, together = kept, trace
            break
    alone = Alone.of(probes, proposed, divided, base)
    contradicting, multiples = [*alone.contradicting], [*alone.multiples]
    known_of = {multiple.name for multiple in multiples}
    multiples += undivided(probes, proposed, {n: by for n, by in divided.items() if n not in known_of})
    wanted = (*multiples, *alone.aligned)
    if any(multiple.keeps_out(point) for multiple in wanted) and probes.affordable():
        together = probes.at(within_all(wanted, point))
    quiet = not (contradicting or alone.moving or alone.unclear)
    if together is not None and quiet and not _holds(together, probes, proposed):
        # None of them alone: 8h/3 is rounded to 256, and of 12 heads in multiples of 8 every h gives a multiple of 256.
        there = probes.aligned(together)
        if there is not None:
            contradicting.append(there)
        else:
            multiples += only_together(probes, proposed, together.point)
    return Beside(
        contradicting=(
            *contradicting,
            *stepped(probes, proposed, alone.steps, divided),
            *with_divisors(probes, proposed, divided),
            *beside_the_next(probes, proposed),
        ),
        moving=alone.moving,
        multiples=tuple(multiples),
        unclear=tuple(alone.unclear),
    )


def _holds(trace: Trace, probes: Probes, proposed: Proposed) -> bool:
    """Whether the formulas hold there, or need not: where another kernel runs, `report.at` refuses the point."""
    return runs_another_kernel(trace, probes) or not proposed.misses(trace)


def _together(
    base: Point,
    names: list[str],
    divided: Mapping[str, set[str]],
    proposed: Proposed,
    aligned: list[str],
    ties: Mapping[str, str],
) -> dict[str, int]:
    """A little more for every symbol; what divides another one still does: a + 1 heads of h/a + 1, or for kernels,
    which want them aligned, of h/a + 8. `aligned` ones stay so, and `ties` are as many times the other as before."""
    kernels, model_symbols = bool(proposed.trace.sdpa), proposed.model_symbols
    point: dict[str, int] = {}
    steps = itertools.cycle(_ODD_STEPS)

    def moved(name: str) -> int:
        if name not in names:
            return base[name]
        if name not in point:
            point[name] = base[name]  # where two divide each other
            there = math.prod(moved(d) for d in divided[name])
            quotient, rest = divmod(base[name], math.prod(base[d] for d in divided[name]))
            others = [v for n, v in point.items() if n != name and n not in divided[name]]
            # What was smaller stays so: there are not more heads of keys than of queries.
            most = min((v for n, v in point.items() if base[n] > base[name]), default=base[name] + 2 * _MOST_FURTHER)
            if name in aligned:
                point[name] = next_aligned(base[name] + (1 if name in model_symbols else _INPUT_STEP))
            elif name not in model_symbols:
                point[name] = _coprime(base[name] + _INPUT_STEP, others, base[name] + _INPUT_STEP + _MOST_FURTHER)
            elif name in ties and not divided[name]:
                point[name] = base[name] // base[ties[name]] * moved(ties[name])
            elif not rest:
                to_kernels = kernels and bool(divided[name]) and quotient % ALIGNED == 0
                more = _more(quotient, aligned=to_kernels, step=next(steps))
                point[name] = there * more if divided[name] else _coprime(more, others, most)
        return point[name]

    return {n: moved(n) for n in names}


def _coprime(value: int, others: list[int], most: int) -> int:
    """A size a little larger, but below `most`, that shares no factor with the others, an odd one if there is one:
    where 5 divides b, a fifth of b s is not rounded, and where 2 does, half of it is not."""
    tries = sorted(range(value, min(value + _MOST_FURTHER, most)), key=lambda v: v % 2 == 0)
    return next((v for v in tries if all(math.gcd(v, other) == 1 for other in others)), value)


def _more(value: int, *, aligned: bool, step: int) -> int:
    """A little more than `value`; an aligned one stays so, but is no multiple of what lengths are rounded to."""
    if not aligned:
        return value + step
    return value + (ALIGNED if (value + ALIGNED) % _ROUNDED else 2 * ALIGNED)


def divisors_of(proposed: Proposed, names: list[str]) -> dict[str, set[str]]:
    """For each symbol those that divide it: a divides h where a tensor has a dimension of h/a.

    Not so p where one has n²/p²: these are patches, which nothing wants aligned.
    """
    found: dict[str, set[str]] = {n: set() for n in names}
    for expression in _dimensions(proposed):
        _, factors = expression.as_coeff_Mul()
        powers = factors.as_powers_dict()
        below = {x.name for x, power in powers.items() if x.is_Symbol and power == -1}
        for x, power in powers.items():
            if x.is_Symbol and power.is_positive and x.name in found:
                found[x.name] |= below & proposed.model_symbols
    return found


def _dimensions(proposed: Proposed) -> Iterator[sympy.Expr]:
    """Those of the calls of attention; where there are none, of all that is kept."""
    shapes: list[Dims] = [shape for _, of_call in proposed.attentions for shape in of_call]
    if not shapes:
        shapes = [g.dims for g in proposed.groups if g.dims is not None and g.dense]
    for shape in shapes:
        for dim in shape:
            yield from sympy.Add.make_args(dim)
