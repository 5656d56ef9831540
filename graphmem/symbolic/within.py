"""`find_bounds`: within which lengths a formula holds. A window, for example, cuts off only what is longer than it.

One far point on either side tells whether there is a bound at all. To find it, the model's integers are tried first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from graphmem.points import Point
from graphmem.record import Trace
from graphmem.symbolic.beside import divisors_of
from graphmem.symbolic.bounds import AnyBound, Bound, Multiple, Uneven
from graphmem.symbolic.curves import quotient_of, unrounded
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.edges import LENGTH, bound_at, edge
from graphmem.symbolic.holds import Holds, shallow
from graphmem.symbolic.nearby import tied
from graphmem.symbolic.orders import bounds_of_orders, differing, grown
from graphmem.symbolic.points import COUNTS, FAR, ODD
from graphmem.symbolic.tracer import TraceAt

# So many operators are traced to see many turns of a loop.
_MOST_TURNED = 4000
# The shortest lengths besides 1: a shift by one leaves one position of two.
_SHORTEST = (2, 3)


def traced_only(derived: Derivation, working: Point) -> Iterator[Bound]:
    """The least and the largest value of each symbol that was traced, for a derivation that is proved and whose forward
    takes too long to look farther."""
    points = [derived.base, working, *derived.proofs, *(there.point for there in derived.apart)]
    for name in derived.moved:
        if name not in derived.loops:
            known = sorted({derived.values[name], *(point[name] for point in points)})
            yield Bound(name, known[0], up=False, untried=True)
            yield Bound(name, known[-1], up=True, untried=True)


def find_bounds(tracer: TraceAt, derived: Derivation, working: Point) -> tuple[AnyBound, ...]:
    """The bounds of lengths and other sizes, and whether a size of 1 is excluded, for a derivation that is proved."""
    base = shallow(tracer, derived)
    uneven = tuple(_uneven(Holds(tracer, derived, base)))
    anywhere = Holds(tracer, derived, base, uneven=uneven)
    found: list[AnyBound] = [*uneven]
    known_of = {
        n: sorted({derived.base[n], working[n], *(p[n] for p in derived.proofs)})
        for n in derived.symbols
        if n not in derived.depth and n not in derived.loops
    }
    steps = {
        n: _step(anywhere._replace(name=n), known)
        for n, known in known_of.items()
        if n not in derived.model_symbols and known[0] >= LENGTH
    }
    long, widths = _all_long(anywhere, known_of, steps), derived.model_symbols - _of_inputs(derived)
    for name, known in known_of.items():
        holds = anywhere._replace(name=name)
        # A bound that moves with this symbol may keep out small values of it already, as what it is a multiple of does.
        low = known[0] > 1 and not any(b.keeps_out({**working, name: 1}) for b in (*found, *derived.multiples))
        if name in widths:
            # Whether 1 of a width differs is not tried.
            found += _without_one(holds) if low and known[0] <= COUNTS else []
        elif name in derived.model_symbols:
            found += _from_below(holds, known[0]) if low else []
        elif known[0] >= LENGTH:
            found += _of_length(holds, known, steps[name], low=low, long=long)
        else:
            found += filter(None, [] if long else [edge(holds, known[-1], FAR * known[-1] | ODD, 1)])
            found += _from_below(holds, known[0]) if low else []
    told = {*tied(divisors_of(derived, [*known_of])), *grown(anywhere, found)}
    for name, known in known_of.items():
        if name in derived.model_symbols and name not in told:
            found += _of_model_size(anywhere._replace(name=name), known[-1], found)
    found += _of_loops(tracer, derived, working)
    found += _of_depth(tracer, derived) if base == derived.base else []
    found += bounds_of_orders(anywhere, found)
    found += differing(anywhere, found)
    return (*(bound for bound in found if bound not in uneven), *uneven)


def _of_inputs(derived: Derivation) -> set[str]:
    """Symbols that an input has as a dimension: the model may have a table of as many positions."""
    return {n for n, there in derived.moved.items() if _shapes(there.trace) != _shapes(derived.trace)}


def _shapes(trace: Trace) -> list[tuple[int, ...]]:
    return [fact.shape for op in trace.ops if op.kind == "input" for fact in op.outputs if fact is not None]


def _without_one(holds: Holds) -> list[Bound]:
    """That a size of 1 is excluded, where it is: it broadcasts and needs no copies."""
    return [Bound(holds.name, 2, up=False, refused=holds.refuses({holds.name: 1}))] if holds.at(1) is False else []


def _of_model_size(holds: Holds, known: int, found: Sequence[AnyBound]) -> list[Bound]:
    """The largest value of a size of the model, if the model runs with the same kernels where it is far larger, and
    other sizes are kept: windows of up to 32 have rows of 32."""
    for far in (FAR * known | ODD, FAR * known):
        point = {**holds.base, holds.name: far}
        out = any(bound.keeps_out(point) for bound in (*found, *holds.derived.multiples))
        if not out and holds.derived.is_whole(point) and holds.runs_alike({holds.name: far}):
            return [*filter(None, [edge(holds, known, far, 1)])]
    return []


def _of_loops(tracer: TraceAt, derived: Derivation, working: Point) -> Iterator[Bound]:
    """The most turns of a loop with which the formula holds, as far as that can be traced: b pieces of s - 1 tokens,
    and a last one of b, fill a further piece at some b."""
    for name, loop in derived.loops.items():
        base, traced = derived.base[name], loop.trace.point[name]
        each = max((len(loop.trace.ops) - len(derived.trace.ops)) // (traced - base), 1)
        known = max(base, traced, working[name], *(p[name] for p in derived.proofs))
        far = min(FAR * known | ODD, base + (_MOST_TURNED - len(derived.trace.ops)) // each)
        bound = edge(Holds(tracer, derived, derived.base, name), known, far, 1) if far > known else None
        if bound is not None:
            yield bound


def _of_depth(tracer: TraceAt, derived: Derivation) -> Iterator[Bound]:
    """That a single layer of each kind is excluded, where it is: a model may keep what layer L // 2 makes."""
    for name, period in derived.periods.items():
        holds = Holds(tracer, derived, derived.base, name)
        if holds.at(period) is False:
            yield Bound(name, derived.base[name], up=False, refused=holds.refuses({name: period}))


def _uneven(holds: Holds) -> Iterator[Uneven]:
    """Symbols that were rounded wherever they were traced, and must be: multiples run other operators."""
    derived = holds.derived
    whole = [unrounded(arg) for arg in derived.rounded]
    found = {(quotient, tuple(beside)) for arg, beside in whole if (quotient := quotient_of(arg)) is not None}
    for (name, part, by), beside in sorted(found):
        if name not in derived.moved or name in derived.loops:
            continue
        there, bounds = holds._replace(name=name), [Uneven(name, part, by, more) for more in beside]
        value = holds.base[name] + -holds.base[name] % bounds[0].step(holds.base)
        out = any(bound.keeps_out(holds.base) for bound in bounds)
        if not out and there.at(value) is False and not there.refuses({name: value}):
            yield from bounds


def _step(holds: Holds, known: list[int]) -> int:
    """Of what the formula's lengths are multiples: if all so far were even, that proves nothing for odd ones."""
    base = holds.base[holds.name]
    step = math.gcd(holds.derived.values.get(holds.name, base), *known)
    return step if step > 1 and holds.at(base + 1) is False else 1


def _far(known: list[int], step: int) -> int:
    far = FAR * known[-1]
    return far // step * step if step > 1 else far | ODD


def _all_long(holds: Holds, known: Mapping[str, list[int]], steps: Mapping[str, int]) -> bool:
    """Whether the formula holds where all inputs are long: then none of them has an upper bound."""
    far = {n: _far(values, steps.get(n, 1)) for n, values in known.items() if n not in holds.derived.model_symbols}
    return bool(far) and holds.there(far) is True


def _of_length(holds: Holds, known: list[int], step: int, *, low: bool, long: bool) -> list[AnyBound]:
    farther = None if long else edge(holds, known[-1], _far(known, step), step)
    if step > 1:
        return [*filter(None, (edge(holds, known[0], step, step), farther)), Multiple(holds.name, step)]
    return [*(_from_below(holds, known[0]) if low else []), *filter(None, [farther])]


def _from_below(holds: Holds, known: int) -> list[Bound]:
    return [*filter(None, [_lowest(holds, known)])] if known >= LENGTH else _without_one(holds)


def _lowest(holds: Holds, known: int) -> Bound | None:
    """The least length at which the formula holds; None where it does at 1."""
    if holds.at(1) is not False:
        return None
    for last in _SHORTEST:
        if holds.at(last) is not False:
            return bound_at(holds, last, -1)
    shortest = _SHORTEST[-1]
    if not holds.runs_alike({holds.name: shortest}) and not holds.refuses({holds.name: shortest}):
        shortest = max(known // FAR, shortest) | 1  # another kernel runs what is short
    return edge(holds, known, shortest, 1) or bound_at(holds, _SHORTEST[0], -1)
