"""`from_below`: the least values at which a formula holds.

A size of 1 broadcasts, and a shift by one leaves one position of two, which needs no copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphmem.record import Trace
from graphmem.symbolic.bounds import Bound
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.edges import bound_at, edge
from graphmem.symbolic.holds import Holds
from graphmem.symbolic.points import COUNTS, FAR

# The shortest lengths besides 1.
_SHORTEST = (2, 3)


def from_below(holds: Holds, known_of: Mapping[str, int], stepped: Mapping[str, int]) -> Iterator[Bound]:
    """The bounds. known_of: the least values at which the formula is known to hold, all above 1; stepped: of
    what a value has to be a multiple, where that is not 1."""
    widths = holds.derived.model_symbols - _of_inputs(holds.derived)
    asked = {n: holds._replace(name=n) for n, v in known_of.items() if n not in widths or v <= COUNTS}
    # Whether 1 of a large width differs is not tried.
    special = {n: one for n, one in asked.items() if n not in stepped and one.at(1) is False}
    for name, known in known_of.items():
        if name in special:
            yield bound_at(special[name], 2, -1) if name in widths else _lowest(special[name], known)
        elif name in stepped:
            yield from filter(None, [edge(holds._replace(name=name), known, stepped[name], stepped[name])])


def _lowest(holds: Holds, known: int) -> Bound:
    """The least length at which the formula holds; it does not at 1."""
    for last in _SHORTEST:
        if holds.at(last) is not False:
            return bound_at(holds, last, -1)
    shortest = _SHORTEST[-1]
    if not holds.runs_alike({holds.name: shortest}) and not holds.refuses({holds.name: shortest}):
        shortest = max(known // FAR, shortest) | 1  # another kernel runs what is short
    return edge(holds, known, shortest, 1) or bound_at(holds, _SHORTEST[0], -1)


def _of_inputs(derived: Derivation) -> set[str]:
    """Symbols that an input has as a dimension, but for a width: the model may have a table of as many positions."""
    return {n for n, there in derived.moved.items() if _shapes(there.trace) != _shapes(derived.trace)}


def _shapes(trace: Trace) -> list[tuple[int, ...]]:
    facts = (fact for op in trace.ops if op.kind == "input" for fact in op.outputs if fact is not None)
    return [fact.shape[:-1] if fact.dtype.is_floating_point else fact.shape for fact in facts]
