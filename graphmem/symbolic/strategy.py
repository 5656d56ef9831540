"""`derive_for`: at which points to `derive`, so that the formula holds at the working point and comes in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy

from graphmem.accounts.account import Account
from graphmem.errors import GraphmemError, TooLongError
from graphmem.points import Point, Room, as_text
from graphmem.symbolic.bounds import AnyBound, Bound, Multiple, said_of
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.derive import SHALLOW, are_counted, derive
from graphmem.symbolic.limits import far_limits
from graphmem.symbolic.notes import About, Note
from graphmem.symbolic.ones import may_be_one
from graphmem.symbolic.problem import Problem
from graphmem.symbolic.spoiling import spoiling
from graphmem.symbolic.text import formula
from graphmem.symbolic.tracer import Tracer
from graphmem.symbolic.within import find_bounds, traced_only

# Up to so many operators all layers are traced once, to see. That takes about a second: a layer of a Llama has 70.
WORTH_CHECKING = 5000
# A trace with more operators is long. Two layers of anything but a loop over positions have fewer.
LONG = 4000
# Enough for some turns of any loop over blocks, and not a multiple of the usual sizes of blocks.
_MORE_TURNS = 149
# Lengths to derive at in place of long ones. Each is checked at the next one, since one turn may take 128 positions.
_LENGTHS = (24, 300, 2500)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What does not change from attempt to attempt.

    account: what counts. total: its table of which a note may give the sum, by name.
    model_symbols: the symbols that shape the model, and not only its inputs.
    depth: symbols that may count layers, and how many layers make one period. unlike: symbols that count layers of many
    kinds. deepest: up to how many layers those of a symbol are alike, where deeper ones are not. full_depth: trace all
    layers. room: sizes that limit how long inputs may be.
    """

    tracer: Tracer
    account: Account
    total: str
    model_symbols: frozenset[str]
    depth: Mapping[str, int]
    unlike: Sequence[str]
    deepest: Mapping[str, int]
    full_depth: bool = False
    room: Room = field(default_factory=Room)

    def derive(
        self, working: Point, depth: Mapping[str, int], *, without: frozenset[str] = frozenset()
    ) -> Derivation | None:
        """`derive` around `working`."""
        problem = self.problem(working)
        unlike = () if depth else (*self.depth, *self.unlike)
        return derive(problem, depth, unlike, without=without)

    def problem(self, working: Point) -> Problem:
        """What is to be derived around `working`."""
        return Problem(tracer=self.tracer, account=self.account, working=working, model_symbols=self.model_symbols)


def derive_for(
    search: Search, working: Point, *, short: bool = True
) -> tuple[Derivation, tuple[AnyBound, ...], list[Note]]:
    """The derivation that holds at the working point, the bounds within which it does, and what to tell the user.

    short: where forward loops over a long input, derive at a shorter one.
    """
    found = _from_short(search, working) if short and not search.full_depth else None
    derived, remarks = found or _derived(search, working)
    notes = [Note(text) for text in remarks]
    bounding = find_bounds(search.tracer, derived, working) if _worth_bounding(derived) else _traced(derived, working)
    periods = (Multiple(name, period) for name, period in derived.periods.items() if period > 1)
    deepest = {name: value for name, value in search.deepest.items() if name in derived.depth}
    bounds = (
        *periods,
        *derived.multiples,
        *(Bound(name, value, up=True) for name, value in deepest.items()),
        *bounding,
    )
    if _worth_bounding(derived):
        derived = replace(derived, ones=may_be_one(search.tracer, derived, bounds))
    if bounds or derived.has_kernels:
        notes.append(Note(said_of(bounds, kernels=derived.has_kernels), About.BOUNDS))
    if derived.follows:
        tied = ", ".join(f"{n} = {formula(derived.following(n), working)}" for n in derived.follows)
        said = f"the formula assumes {tied}: varied separately they run different operators or fail"
        notes.append(Note(said, About.FORMULA))
    fixed = (Note(said, About.FORMULA) for said in (*_untold(derived, working), *_fixed(derived)))
    return derived, bounds, [*map(Note, derived.trace.notes), *notes, *fixed]


def _worth_bounding(derived: Derivation) -> bool:
    return derived.exact and bool(derived.moved) and not derived.skipped and len(derived.trace.ops) <= LONG


def _traced(derived: Derivation, working: Point) -> Iterator[Bound]:
    return traced_only(derived, working) if derived.exact and derived.moved else iter(())


def _untold(derived: Derivation, working: Point) -> Iterator[str]:
    """What to say about expressions that are not the only ones: of each the simplest other one stands for all."""
    others = dict(sorted(derived.untold, key=lambda x: -sympy.count_ops(x[1])))
    if others and derived.exact:
        pairs = ", ".join(f"{formula(x, working)} or {formula(y, working)}" for x, y in sorted(others.items(), key=str))
        yield f"the formula holds where it makes no difference whether a dimension is {pairs}: no trace tells which"


def _fixed(derived: Derivation) -> Iterator[str]:
    """What to say about the symbols that the formula does not have."""
    fixed = {
        "no other value was found that runs the same operators": [
            n for n in derived.refused if n not in derived.skipped and n not in derived.left_out
        ],
        "no formula was found that holds at other values": [n for n in derived.refused if n in derived.left_out],
        "beside that value other operators run, or other sizes are kept": derived.unclear,
    }
    for reason, names in fixed.items():
        if names:
            yield f"the formula is for {as_text({n: derived.base[n] for n in names}, ', ')} only: {reason}"
    if derived.skipped:
        skipped = as_text({n: derived.base[n] for n in derived.skipped}, ", ")
        why = f"forward has {len(derived.trace.ops)} operators, too many to try other values of every symbol"
        yield f"the formula is for {skipped} only: {why}"


def _derived(search: Search, working: Point) -> tuple[Derivation, list[str]]:
    """The derivation with the limits of inputs far above them, if they matter and that one holds at the working point,
    too; otherwise around the working point."""
    far = far_limits(search.tracer, search.account, search.room, _shallow(search, working))
    if far:
        try:
            derived, notes = _around(search, {**working, **far})
            if _proved(derived, far) and derived.holds(search.tracer({**derived.base, **{n: working[n] for n in far}})):
                return derived, notes
        except GraphmemError:
            pass  # the model need not run there
    return _around(search, working)


def _shallow(search: Search, working: Point) -> dict[str, int]:
    """The working point with few layers."""
    return {**working, **{d: min(SHALLOW * period, working[d]) for d, period in search.depth.items()}}


def _around(search: Search, working: Point) -> tuple[Derivation, list[str]]:
    """A derivation with as much in it as can be: from few layers, or from all; and only then without some symbols."""
    notes = []
    derived, why_all = _from_few_or_all(search, working)
    if not derived.is_clear and not derived.skipped:
        fewer = (_from_few_or_all(search, working, without=some) for some in spoiling(derived))
        derived, why_all = next((found for found in fewer if found[0].is_clear), (derived, why_all))
    if search.depth and not derived.depth:
        notes.append(f"{why_all}: all of them were traced")
    if (derived.refused or not derived.exact) and not derived.skipped:
        derived, said = _from_beside(search, derived, working)
        notes += said
    return derived, notes


def _from_few_or_all(
    search: Search, working: Point, *, without: frozenset[str] = frozenset()
) -> tuple[Derivation, str]:
    """The derivation from a few layers; or else from all of them, and why."""
    folded = _folded(search, working, without) if search.depth else ""
    if isinstance(folded, Derivation):
        return folded, ""
    if search.tracer(working).drew:  # each layer may run or not: a formula in their number would be of these draws
        without |= frozenset(search.depth)
    derived = search.derive(working, {}, without=without)
    assert derived is not None, "without depth there is nothing to disagree with"
    return derived, folded


def _folded(search: Search, working: Point, without: frozenset[str]) -> Derivation | str:
    """The derivation from a few layers; or why it does not hold for the number of layers that is asked for."""
    tracer, depth = search.tracer, search.depth
    layers = f"the layers that {', '.join(depth)} counts"
    try:
        derived = search.derive(working, depth, without=without)
        if derived is None:
            alike = are_counted(search.problem(working), depth)
            return f"no formula was found for {layers}" if alike else f"{layers} are not alike"
        if derived.trace.drew:
            return f"a random number decides about {layers}"
        if not derived.exact and derived.proofs and not derived.lacks:
            alike = derived.missed is None or not _holds_for_few(search, derived)
            return f"the formula from the first of {layers} did not hold" if alike else f"{layers} are not alike"
        # Forward may treat a layer by its number. As long as that costs little, all layers are traced once, to see; and
        # always where a single layer is asked for, fewer than were traced, and where a finished module was shortened.
        one = any(working[d] < derived.base[d] for d in depth)
        look = search.full_depth or one or tracer.finished or _operators(derived, working) <= WORTH_CHECKING
        return f"{layers} are not alike" if look and not derived.holds(tracer(working)) else derived
    except GraphmemError:
        # If it does not run with all of them either, the derivation from all of them, which comes next, raises that.
        return f"the model does not run with few of {layers}"


def _holds_for_few(search: Search, derived: Derivation) -> bool:
    """Whether few layers keep what is foretold at the point where that failed."""
    assert derived.missed is not None
    return derived.holds(search.tracer({**derived.missed.point, **{d: derived.base[d] for d in derived.depth}}))


def _operators(derived: Derivation, working: Point) -> int:
    """How many operators a trace of all layers would have."""
    base = len(derived.trace.ops)
    return base + sum(
        (len(t.ops) - base) * (working[d] - derived.base[d]) // derived.periods[d] for d, t in derived.deeper.items()
    )


def _from_beside(search: Search, derived: Derivation, working: Point) -> tuple[Derivation, list[str]]:
    """A derivation at a point beside the working point, if one holds at the working point, too; otherwise `derived`,
    and notes about what was found beside it.

    At the working point a symbol may refuse to move that moves elsewhere: a size of 1 makes copies unnecessary that any
    other size needs, and a loop of two turns has a first and a last one, but none between.
    """
    ones = {n: 2 for n in derived.refused if working[n] == 1}
    inputs = [n for n in (*derived.refused, *derived.doubtful) if n not in search.model_symbols and working[n] > 1]
    longer = {n: 2 * working[n] + _MORE_TURNS for n in inputs}
    said: list[str] = []
    for moved in (ones, longer):
        if not moved:
            continue
        try:
            other = search.derive({**working, **moved}, derived.periods)
            if other is None or not _proved(other, moved):
                continue
            if other.holds(search.tracer({**other.base, **{n: working[n] for n in moved}})):
                return other, []
        except GraphmemError:
            # The model need not run beside the working point: it may have a constant of that size, such as a mask.
            # `derived` stands in any case.
            continue
        total = sympy.Add(*(g.size * g.count.expr for g in other.groups if g.key.table == search.total))
        expression = formula(total, working, other.depth)
        at = as_text(moved, ", ")
        said.append(f"at {at} different operators run: {search.total} = {expression}, proved at that point")
    return derived, said


def _from_short(search: Search, working: Point) -> tuple[Derivation, list[str]] | None:
    """The derivation at a shorter input, where forward loops over it and a trace of the working point would be long."""
    limited = search.tracer.limited(LONG)
    shallow = _shallow(search, working)
    if not _is_long(limited, shallow):
        return None
    inputs = [n for n in working if n not in search.model_symbols and working[n] > 2 * _LENGTHS[0]]
    for name in sorted(inputs, key=lambda n: -working[n]):
        if _is_long(limited, {**shallow, name: _LENGTHS[0]}):
            continue  # another input is what makes it long
        for length, further in zip(_LENGTHS, (*_LENGTHS[1:], 4 * _LENGTHS[-1]), strict=True):
            if working[name] <= 2 * length:
                break
            derived, notes = _derived(search, {**working, name: length})
            check = min(further, working[name])
            if _proved(derived, [name]) and derived.holds(search.tracer({**derived.base, name: check})):
                at = f"extrapolated from {name}={derived.base[name]}, checked at {name}={check}"
                return derived, [*notes, f"{name}={working[name]}: {at}"]
    return None


def _proved(derived: Derivation, names: Iterable[str]) -> bool:
    """Whether the formula is proved, and `names` are in it."""
    return derived.exact and not set(names) & set(derived.fixed)


def _is_long(limited: Tracer, point: Point) -> bool:
    """Whether a trace at `point` has more operators than `limited` admits."""
    try:
        limited(point)
    except TooLongError:
        return True
    except GraphmemError:
        # Whatever else is wrong there has nothing to do with length; if the derivation meets it, it raises it again.
        return False
    return False
