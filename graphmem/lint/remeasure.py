"""What a model would keep if some of its operators were others: traced again, at all the points of the derivation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import sympy

from graphmem.errors import GraphmemError
from graphmem.lint.spot import Change
from graphmem.report.findings import Findings
from graphmem.saved import SAVED, sort_storages
from graphmem.symbolic.derive import Derivation, derive
from graphmem.trace.record import Trace
from graphmem.trace.replay import Swap, replay

SwapsOf = Callable[[Trace], Sequence[Swap]]


def swapping(of: object, swaps_of: SwapsOf) -> Change:
    """A change that swaps operators; `swaps_of` has to find all of them in whatever trace it is given."""
    return Change(of, partial(_saved_after, swaps_of))


def _saved_after(swaps_of: SwapsOf, findings: Findings) -> sympy.Expr | None:
    """None where a replay does not keep what the trace kept, or where the changed model has no proved formula."""
    derived, machine = findings.derived, findings.machine
    try:
        if _sizes(replay(derived.trace, [], machine)) != _sizes(derived.trace):
            return None
        changed = _derived(derived, lambda t: replay(t, swaps_of(t), machine))
    except Exception:  # a suggestion that cannot be traced is none, whatever the user's operators raise
        return None
    return None if changed is None else saved_in(changed)


def saved_in(changed: Derivation) -> sympy.Expr | None:
    """What is saved, of a derivation for a changed model; None where a size has no proved formula."""
    if not all(g.dims is not None or not changed.moved for g in changed.groups):
        return None
    return sympy.expand(sympy.Add(*(g.size * g.count.expr for g in changed.groups if g.key.table == SAVED)))


def _derived(derived: Derivation, again: Callable[[Trace], Trace]) -> Derivation | None:
    """The derivation of the changed model from the traces that there are."""
    traces = [derived.trace, *derived.deeper.values(), *derived.moved.values(), *derived.apart]
    known = {_key(t.point): t for t in traces}
    made: dict[tuple[tuple[str, int], ...], Trace] = {}

    def tracer(point: dict[str, int]) -> Trace:
        key = _key(point)
        if key not in known:
            raise GraphmemError("nothing is traced for a suggestion")
        if key not in made:
            made[key] = again(known[key])
        return made[key]

    return derive(tracer, dict(derived.base), derived.model_symbols, list(derived.depth))


def _key(point: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(point.items()))


def _sizes(trace: Trace) -> Counter[int]:
    return Counter(k.nbytes for k in sort_storages(trace) if k.table == SAVED)
