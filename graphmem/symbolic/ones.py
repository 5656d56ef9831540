"""`may_be_one`: quotients of two sizes that may become 1. A dimension of 1 broadcasts and needs no copies, so most may
not; but where there is one window only, a model may keep just what it keeps of several."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from graphmem.points import Point
from graphmem.symbolic.bounds import AnyBound
from graphmem.symbolic.curves import evaluate, names_in
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.holds import Holds, shallow
from graphmem.symbolic.tracer import TraceAt

_MOST = 8  # quotients that are tried


def is_quotient(dim: sympy.Expr) -> bool:
    """Whether it divides by a symbol."""
    return any(power.exp.is_negative and power.base.is_Symbol for power in dim.atoms(sympy.Pow))


def may_be_one(tracer: TraceAt, derived: Derivation, bounds: tuple[AnyBound, ...]) -> frozenset[sympy.Expr]:
    """The quotients among the dimensions with which the formula holds at each point beside the base where one is 1."""
    holds, found = Holds(tracer, derived, shallow(tracer, derived)), set()
    for dim in [d for d in derived.computed if is_quotient(d)][:_MOST]:
        points = [at for at in _points(derived, dim) if not any(b.keeps_out({**holds.base, **at}) for b in bounds)]
        held = [holds.there(at) for at in points if not holds.refuses(at)]
        if held and all(held):
            found.add(dim)
    return frozenset(found)


def _points(derived: Derivation, dim: sympy.Expr) -> Iterator[Point]:
    """For each symbol a value that makes the dimension 1."""
    base = derived.base
    here = evaluate(dim, base) or 0
    for name in sorted(names_in(dim) - {*derived.fixed, *derived.depth, *derived.loops}) if here > 1 else ():
        tries = (base[name] * here, base[name] // here, *(base[name] * n for n in (2, 4, 8)))
        by_others = (base[other] for other in sorted(names_in(dim)) if other != name)
        value = next((v for v in (*tries, *by_others) if v and evaluate(dim, {**base, name: v}) == 1), None)
        if value is not None:
            yield {name: value}
