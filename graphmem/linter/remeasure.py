"""What a model would keep with some of its operators swapped: traced again, at all the points of the derivation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import sympy

from graphmem.accounts.saved import SAVED, sort_storages
from graphmem.analysis.analysis import Analysis
from graphmem.errors import GraphmemError
from graphmem.linter.spot import Change
from graphmem.memo import Memo
from graphmem.points import Point, key
from graphmem.record import Trace
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.derive import derive
from graphmem.symbolic.problem import Problem
from graphmem.trace.replay import Swap, replay
from graphmem.usercode.isolate import isolated

SwapsOf = Callable[[Trace], Sequence[Swap]]


class NoSwapError(Exception):
    """A change cannot be made everywhere that it has to be: nothing is promised of it."""


def swapping(of: object, swaps_of: SwapsOf) -> Change:
    """A change that swaps operators; `swaps_of` has to find all of them in whatever trace it is given."""
    return Change(of, partial(_saved_after, swaps_of))


def _saved_after(swaps_of: SwapsOf, analysis: Analysis) -> sympy.Expr | None:
    """None where a replay does not keep what the trace kept, or where the changed model has no proved formula."""
    derived, machine = analysis.derived, analysis.machine
    try:
        with isolated():
            if _sizes(replay(derived.trace, [], machine)) != _sizes(derived.trace):
                return None
            changed = _derived(analysis, lambda t: replay(t, swaps_of(t), machine))
    except (GraphmemError, NoSwapError):
        # Nothing is promised of a change that cannot be traced. What operators raise in a replay, the user's own ones
        # included, comes as a ModelError (graphmem.trace.failures); anything else is a mistake of ours, and is raised.
        return None
    return None if changed is None else saved_in(changed)


def saved_in(changed: Derivation) -> sympy.Expr | None:
    """What is saved, of a derivation for a changed model; None where its formula is not proved: another kernel may run
    at another length."""
    if not changed.exact:
        return None
    return sympy.expand(sympy.Add(*(g.size * g.count.expr for g in changed.groups if g.key.table == SAVED)))


def traces_of(derived: Derivation) -> list[Trace]:
    """At all points of the derivation, the one at which the report was traced first."""
    aligned = (there.trace for there in (*derived.moved.values(), *derived.apart))
    return [derived.trace, *derived.deeper.values(), *aligned]


def _derived(analysis: Analysis, again: Callable[[Trace], Trace]) -> Derivation | None:
    """The derivation of the changed model from the traces that there are; missing ones are made."""
    derived = analysis.derived
    known = {key(t.point): t for t in traces_of(derived)}
    made = Memo[Trace]()

    def tracer(point: Point) -> Trace:
        return made.at(point, lambda: again(known.get(key(point)) or analysis.tracer(point)))

    problem = Problem(tracer=tracer, account=derived.account, working=derived.base, model_symbols=derived.model_symbols)
    return derive(problem, derived.periods)


def _sizes(trace: Trace) -> Counter[int]:
    return Counter(k.nbytes for k in sort_storages(trace) if k.table == SAVED)
