"""Single points beside the base, each chosen for what shows there: two symbols at once, the sides of a multiple."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

from graphmem.points import Point
from graphmem.record import Trace
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.bounds import Multiple
from graphmem.symbolic.curves import quotient_of
from graphmem.symbolic.derivation import Proposed
from graphmem.symbolic.points import ALIGNED, COUNTS, FAR, ODD, next_aligned
from graphmem.symbolic.probes import Probes

_MOST_ROUNDED = 1024  # a symbol that is rounded to more than this in all is not moved there


def only_together(probes: Probes, proposed: Proposed, point: Point) -> list[Multiple]:
    """That a size has to be a multiple of another, where other operators run at `point` and with none of its symbols
    moved alone: windows that do not fill the length leave a slice, which needs a copy if b is not 1."""
    base = probes.base
    needed = {n: v for n, v in point.items() if v != base[n]}
    for name in [*needed]:
        less = {n: v for n, v in needed.items() if n != name}
        if _misses(probes, proposed, less):
            needed = less
    if len(needed) < 2:
        return []
    there = {**base, **needed}
    for name, _, [by, *others] in sorted({q for arg in proposed.rounded if (q := quotient_of(arg)) and q[2]}):
        if not others and base[by] > 1 and base[name] % base[by] == 0 and there[name] % there[by]:
            whole = there[name] // there[by] * there[by] or there[by]
            trace = probes.at({**there, name: whole}) if probes.affordable() else None
            if trace is not None and not proposed.misses(trace):
                return [Multiple(name, 1, (by,))]
    return []


def stepped(
    probes: Probes, proposed: Proposed, steps: Mapping[str, int], divided: Mapping[str, set[str]]
) -> tuple[Aligned, ...]:
    """The trace that contradicts the formulas with all symbols moved at once that may move by themselves: half of b s
    is rounded where both are odd."""
    free = {name: probes.base[name] + step for name, step in steps.items() if name not in tied(divided)}
    return _contradicting(probes, proposed, free) if len(free) > 1 else ()


def tied(divided: Mapping[str, set[str]]) -> set[str]:
    """What has to divide another size, or has to be divided by one."""
    return {name for name, by in divided.items() if by}.union(*divided.values())


def ties_of(probes: Probes, names: Iterable[str]) -> dict[str, str]:
    """Counts that run other operators at some other values, and of each the largest count that divides it: of a heads
    k have keys of their own, and copies of these are made if k is not a."""
    counts = {n: v for n in names if n in probes.model_symbols and 1 < (v := probes.base[n]) <= COUNTS}
    found: dict[str, str] = {}
    for name in counts.keys() & set(probes.doubtful):
        below = [n for n, v in counts.items() if v < counts[name] and counts[name] % v == 0]
        found |= {name: max(below, key=counts.__getitem__)} if below else {}
    return found


def aligned_of(probes: Probes, proposed: Proposed, divided: Mapping[str, set[str]]) -> list[str]:
    """Symbols that are multiples of 8 and may have to be: inputs that were moved to such a multiple, since something
    odd was refused, and sizes of heads, if they are symbols of their own."""
    of_heads = {str(dims[-1]) for _, shapes in proposed.attentions for dims in shapes if dims}
    return [
        name
        for name, by in divided.items()
        if not by
        and probes.base[name] % ALIGNED == 0
        and (name in of_heads if name in proposed.model_symbols else probes.values[name] % ALIGNED == 0)
    ]


def _holds(trace: Trace, probes: Probes, proposed: Proposed) -> bool:
    """Whether the formulas hold there, or need not: where another kernel runs, `report.at` refuses the point."""
    return runs_another_kernel(trace, probes) or not proposed.misses(trace)


def with_divisors(probes: Probes, proposed: Proposed, divided: Mapping[str, set[str]]) -> Iterator[Aligned]:
    """Traces that contradict the formulas with a size and what divides it moved at once, as heads of the same size are
    added: of 6 heads every h is a multiple of 3, and 8h/3 is rounded where there are 8."""
    for name, by in divided.items():
        base, [*single] = probes.base, by
        if len(single) != 1 or not {name, *single} <= proposed.moved.keys():
            continue
        divisor = single[0]
        own = (v for n, v in base.items() if n not in (name, divisor) and n in proposed.model_symbols and v > 1)
        unit = math.lcm(*(v for v in own if base[divisor] % v == 0))
        for more in (base[divisor] + unit, base[divisor] + 2 * unit):
            moved = {name: base[name] * more // base[divisor], divisor: more}
            if probes.affordable() and probes.at({**base, **moved}) is not None:
                yield from _contradicting(probes, proposed, moved)
                break


def undivided(probes: Probes, proposed: Proposed, divided: Mapping[str, set[str]]) -> tuple[Multiple, ...]:
    """That what divides a symbol has to do so, where the model runs without that and keeps other sizes: of heads that
    need not divide h, the rest is left over. A formula with floor(h/a) would be right, but hard to read."""
    found = []
    for name, by in divided.items():
        point = {**probes.base, name: probes.base[name] + 1}
        trace = probes.at(point) if by and name in proposed.moved and probes.affordable() else None
        if trace is not None and proposed.misses(trace):
            found.append(Multiple(name, 1, tuple(sorted(by))))
    return tuple(found)


def whole_dimensions(proposed: Proposed) -> tuple[Multiple, ...]:
    """What makes dimensions whole numbers: h is a multiple of 3 where a tensor has 8h/3 columns."""
    dims = {dim.as_coeff_Mul() for group in proposed.groups for dim in group.dims or ()}
    parts = {(str(x), int(part.q)) for part, x in dims if x.is_Symbol and part.q > 1}
    return tuple(Multiple(name, part) for name, part in sorted(parts))


def beside_the_next(probes: Probes, proposed: Proposed) -> tuple[Aligned, ...]:
    """Traces that contradict the formulas one before, or after, the next multiple of all that a symbol is rounded to:
    floor(ceil(n/4)/2) or ceil(floor(n/4)/2), which are rounded twice, differ there from what is rounded once."""
    rounded: dict[str, int] = {}
    for part, size in (arg.as_coeff_Mul() for arg in proposed.rounded):
        if size.is_Symbol and size.name in probes.values and size.name not in probes.repeats:
            rounded[size.name] = math.lcm(rounded.get(size.name, 1), int(part.q))
    next_of = {n: (probes.base[n] // of + 1) * of for n, of in rounded.items() if of <= _MOST_ROUNDED}
    points = ({n: value} for n, known in next_of.items() for value in (known + rounded[n] - 1, known + 1))
    found = (_contradicting(probes, proposed, point) for point in points)
    return tuple(itertools.chain.from_iterable(found))


def within_all(multiples: Iterable[Multiple], point: Point) -> Point:
    """The point with each symbol a little larger, so that it is the multiple that it has to be."""
    there = dict(point)
    for multiple in multiples:
        there[multiple.name] += -there[multiple.name] % multiple.step(there)
    return there


def far_counts(
    probes: Probes, proposed: Proposed, divided: Mapping[str, set[str]], multiples: Iterable[Multiple]
) -> dict[str, Aligned]:
    """Small sizes of the model, each with a trace that contradicts the formulas with it alone made far larger: windows
    of up to 32 all have rows of 32.

    divided: what has to divide them. multiples: what they have to be multiples of.
    """
    with_others = {*tied(divided), *ties_of(probes, proposed.moved).values()}
    still = {*probes.repeats, *probes.follows, *with_others}
    names = (n for n in proposed.moved if n in proposed.model_symbols and n not in still)
    far = {n: FAR * probes.base[n] | ODD for n in names if probes.base[n] <= COUNTS}
    far |= {n: next_aligned(far[n]) for n in aligned_of(probes, proposed, divided) if n in far}
    far = {n: within_all((m for m in multiples if m.name == n), {**probes.base, n: v})[n] for n, v in far.items()}
    far = {n: value for n, value in far.items() if value != probes.values[n]}
    with probes.looking():
        if len(far) > 1 and probes.affordable():
            trace = probes.at({**probes.base, **far})
            if trace is not None and not proposed.misses(trace):
                return {}
        found = {n: _contradicting(probes, proposed, {n: value}) for n, value in far.items()}
    return {n: there for n, traces in found.items() for there in traces}


def _misses(probes: Probes, proposed: Proposed, moved: Point) -> bool:
    """Whether the model runs there, with the same kernels, and the formulas do not hold."""
    trace = probes.at({**probes.base, **moved})
    return trace is not None and not runs_another_kernel(trace, probes) and bool(proposed.misses(trace))


def _contradicting(probes: Probes, proposed: Proposed, moved: Point) -> tuple[Aligned, ...]:
    """The trace with these symbols moved, if it runs the same operators and keeps other sizes."""
    trace = probes.at({**probes.base, **moved}) if probes.affordable() else None
    there = probes.aligned(trace) if trace is not None and proposed.misses(trace) else None
    return (there,) if there is not None else ()


def runs_another_kernel(trace: Trace, probes: Probes) -> bool:
    """Whether attention does, which `report.at` sees at any point by itself."""
    return trace.kernels != probes.kernels
