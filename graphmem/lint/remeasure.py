"""What a model would keep if some of its operators were others: traced again, at all the points of the derivation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import sympy

from graphmem.errors import GraphmemError
from graphmem.report.findings import Findings
from graphmem.saved import SAVED, sort_storages
from graphmem.symbolic.derive import Derivation, derive
from graphmem.trace.record import Trace
from graphmem.trace.replay import Swap, replay

SwapsOf = Callable[[Trace], Sequence[Swap]]


def saved_after(findings: Findings, swaps_of: SwapsOf) -> sympy.Expr | None:
    """Saved for backward with the swaps, as an expression; None where a replay does not keep what the trace kept, or
    where the changed model has no proved formula."""
    derived, machine = findings.derived, findings.machine
    try:
        if _sizes(replay(derived.trace, [], machine)) != _sizes(derived.trace):
            return None
        changed = _derived(derived, lambda t: replay(t, swaps_of(t), machine))
    except Exception:  # a suggestion that cannot be traced is none, whatever the user's operators raise
        return None
    if changed is None or not all(g.dims is not None or not changed.moved for g in changed.groups):
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
