"""`find_bounds`: within which lengths a formula holds. A window, for example, cuts off only what is longer than it.

One far point on either side tells whether there is a bound at all. To find it, the model's integers are tried first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from graphmem.points import Point
from graphmem.symbolic.below import from_below
from graphmem.symbolic.beside import divisors_of
from graphmem.symbolic.bounds import AnyBound, Bound, Multiple, Uneven
from graphmem.symbolic.curves import quotient_of, unrounded
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.edges import LENGTH, edge
from graphmem.symbolic.holds import Holds, shallow
from graphmem.symbolic.nearby import tied
from graphmem.symbolic.orders import bounds_of_orders, differing, grown
from graphmem.symbolic.points import FAR, ODD
from graphmem.symbolic.tracer import TraceAt

# So many operators are traced to see many turns of a loop.
_MOST_TURNED = 4000


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
    inputs = {n: known for n, known in known_of.items() if n not in derived.model_symbols}
    lengths = {n: known for n, known in inputs.items() if known[0] >= LENGTH}
    stepped = {n: step for n, known in lengths.items() if (step := _step(anywhere._replace(name=n), known)) > 1}
    far = {n: _far(known, stepped.get(n, 1)) for n, known in inputs.items()}
    if not far or anywhere.there(far) is not True:  # where all inputs are long: then none of them has an upper bound
        for name, value in far.items():
            found += filter(None, [edge(anywhere._replace(name=name), inputs[name][-1], value, stepped.get(name, 1))])
    # A bound that moves with a symbol may keep out small values of it already, as what it is a multiple of does.
    kept_out = (*found, *derived.multiples)
    low = {n for n in known_of if n in stepped or not any(b.keeps_out({**working, n: 1}) for b in kept_out)}
    found += from_below(anywhere, {n: v[0] for n, v in known_of.items() if v[0] > 1 and n in low}, stepped)
    found += (Multiple(name, step) for name, step in stepped.items())
    told = {*tied(divisors_of(derived, [*known_of])), *grown(anywhere, found)}
    for name, known in known_of.items():
        if name in derived.model_symbols and name not in told:
            found += _of_model_size(anywhere._replace(name=name), known[-1], found)
    found += _of_loops(tracer, derived, working)
    found += _of_depth(tracer, derived) if base == derived.base else []
    found += bounds_of_orders(anywhere, found)
    found += differing(anywhere, found)
    return (*(bound for bound in found if bound not in uneven), *uneven)


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
