"""`derive`: from traces at chosen points to a `Derivation`, a formula for every storage that counts, and its proof.

base        the working point, with as few layers as show how they repeat
deeper      one layer more, per depth symbol: what repeats
moved       one symbol moved: exponents and sums, from shapes that correspond operator by operator
check       all symbols moved: decides between formulas that agree with `moved` equally well; only where there are such
held out    all symbols moved again, at three points, once with more layers: every size must come out to the byte
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from graphmem.errors import GraphmemError
from graphmem.points import Point, key
from graphmem.record import Trace
from graphmem.symbolic.align import Aligned, Base
from graphmem.symbolic.beside import Beside, divisors_of, look_beside
from graphmem.symbolic.derivation import Derivation, Group, Probed, Proposed, stage
from graphmem.symbolic.dims import dims_of, shared
from graphmem.symbolic.enough import is_enough
from graphmem.symbolic.loops import Loop, Looped
from graphmem.symbolic.nearby import far_counts, whole_dimensions
from graphmem.symbolic.probes import Probes
from graphmem.symbolic.problem import Problem
from graphmem.symbolic.single import MoreLayersNeededError, Single, single_of

# So many layers of each kind, or periods of kinds that take turns, show how they repeat.
SHALLOW = 2
# The first held-out point has up to so many layers, if the model has them: patterns of up to six show.
DEEP = 7
# Besides it there are so many held-out points.
MORE_PROOFS = 2
# So many pairs of symbols are tried that may only move together.
MOST_PAIRS = 12
# With so many traces that contradict what was proposed nothing further is proposed.
MOST_CONTRADICTING = 20


@dataclass(frozen=True, kw_only=True)
class _Start:
    """What every attempt at a problem starts from.

    deeper: per depth symbol a trace with one layer more. without: symbols that are left out.
    """

    problem: Problem
    base: Base
    deeper: Mapping[str, Trace]
    without: frozenset[str]


def derive(
    problem: Problem,
    depth: Mapping[str, int],
    unlike: Sequence[str] = (),
    *,
    without: frozenset[str] = frozenset(),
) -> Derivation | None:
    """Trace what is needed around the working point and derive. None where `depth` does not repeat layers that are
    alike.

    Args:
        depth: symbols that count layers, and how many layers make one period: 1 where all are alike.
        unlike: symbols that count layers of which not all are alike: they are not moved.
        without: symbols that are left out, since they spoil the formula of all the others: they are not moved.
    """
    tracer = problem.tracer
    start = _start(problem, depth, without)
    try:
        single = single_of(tracer, start.base, depth or dict.fromkeys(unlike, 1))
        derived = _derived(start, single) if single else None
        if derived is not None and not derived.unclear and is_enough(tracer, derived):
            return derived
    except (MoreLayersNeededError, GraphmemError):
        # One layer is a short cut. A model may not run with it (a list of kinds that is too long, an index of the last
        # layer); what is wrong with the model itself is raised again below, without the short cut.
        pass
    return _derived(start, None)


def _start(problem: Problem, depth: Mapping[str, int], without: frozenset[str] = frozenset()) -> _Start:
    base = {**problem.working, **{d: SHALLOW * period for d, period in depth.items()}}
    deeper = {d: {**base, d: base[d] + period} for d, period in depth.items()}
    return _Start(
        problem=problem,
        base=Base(problem.tracer(base), problem.account),
        deeper={d: problem.tracer(point) for d, point in deeper.items()},
        without=without,
    )


def are_counted(problem: Problem, depth: Mapping[str, int]) -> bool:
    """Whether, at the working point's other sizes, every layer more adds as many of what the first layers keep."""
    start = _start(problem, depth)
    return Looped(start.base, {}).counts(start.deeper) is not None


def _derived(start: _Start, single: Single | None, still: frozenset[str] = frozenset()) -> Derivation | None:
    """still: symbols that are not moved."""
    if Looped(start.base, {}).counts(start.deeper) is None:
        return None
    probes = Probes(start.problem, start.base, single)
    probed = _probed(start, probes, still)
    if probed is None:
        if start.deeper:
            return None
        return _derived(start, single, still | {*probes.repeats})
    derived, seen = None, tuple[Aligned, ...]()
    for near in (False, True):
        derived = _proposed_and_proved(start.problem, probed, probes, seen, near=near)
        if derived is None or derived.exact or not probed.moved or (not derived.proofs and derived.skipped):
            break  # otherwise a window may have cut off what is far, and it may cut off nothing of what is near
        seen = () if derived.lacks else derived.apart  # where nothing agrees, what is far may be what a window cuts off
    return derived


def _probed(start: _Start, probes: Probes, still: frozenset[str]) -> Probed | None:
    """Move every symbol alone. None where the turns of a loop are not alike."""
    base, depth = start.base.trace.point, list(start.deeper)
    still |= start.without | {n for n, v in probes.base.items() if v != base[n]}
    names = [n for n, v in base.items() if n not in (*depth, *still) and v > 0]
    moved = {n: there for n in names if (there := probes.moved(n)) is not None}
    left = [n for n in names if n not in moved and n in probes.model_symbols and n not in probes.skipped]
    moved |= _together(probes, left)
    loops = _loops(start, probes)
    sizes = {n: there for n, there in moved.items() if n in probes.repeats or probes.moves_something(there)}
    sizes |= probes.far([n for n in moved if n not in sizes])
    looped = Looped(start.base, loops)
    counts = looped.counts(start.deeper)
    if counts is None:
        return None
    return Probed(
        account=start.problem.account,
        model_symbols=start.problem.model_symbols,
        base=base,
        trace=start.base.trace,
        kept=start.base.kept,
        depth=tuple(depth),
        deeper=start.deeper,
        loops=loops,
        moved=sizes,
        turning={n: there for n, there in moved.items() if n not in sizes},
        values=dict(probes.values),
        refused=tuple(n for n in base if n in {*names, *still} - {*depth, *moved, *probes.follows}),
        left_out=start.without,
        skipped=tuple(probes.skipped),
        doubtful=tuple(dict.fromkeys(probes.doubtful)),
        follows={name: tuple(leaders) for name, leaders in probes.follows.items()},
        groups=tuple(Group(key, tuple(members), counts[key]) for key, members in looped.members.items()),
    )


def _together(probes: Probes, refused: list[str]) -> dict[str, Aligned]:
    """Of the symbols that cannot be moved alone those that can be moved with another one: k with a where every head has
    keys of its own, and h with the head size. Symbols of equal size are tried first."""
    moved: dict[str, Aligned] = {}
    pairs = [(x, y) for x in refused for y in refused if x != y]
    pairs.sort(key=lambda pair: probes.base[pair[0]] != probes.base[pair[1]])
    for leader, other in pairs[:MOST_PAIRS]:
        if leader not in moved and leader not in probes.follows and other not in moved:
            found = probes.moved_together(leader, other)
            if found is not None:
                moved[leader] = found
    return moved


def _loops(start: _Start, probes: Probes) -> dict[str, Loop]:
    """The loops that probing found, each traced with one layer more, too."""
    tracer = start.problem.tracer
    return {
        name: Loop(repeat, turned, {d: tracer({**turned.point, d: t.point[d]}) for d, t in start.deeper.items()})
        for name, (repeat, turned) in probes.repeats.items()
    }


def _proposed_and_proved(
    problem: Problem, probed: Probed, probes: Probes, seen: tuple[Aligned, ...] = (), *, near: bool
) -> Derivation | None:
    """None where `depth` does not repeat layers that are alike. near: held-out inputs are not much longer."""
    apart = _apart(probed, probes, near=near)
    proposed, beside, seen = _unrefuted(problem, probed, probes, apart, seen)
    if proposed is None:
        return None
    # Where no formula holds far away, too, the one that there is has a bound.
    for moving in (beside.moving, _far_counts(probes, proposed, beside)):
        more = _with_more_moving(problem, probed, probes, moving, seen, near=near) if moving else None
        if more is not None and more.exact:
            return more
    return _proved(problem, proposed, probes, _held_out(proposed, probes, apart), beside)


def _far_counts(probes: Probes, proposed: Proposed, beside: Beside) -> Mapping[str, Aligned]:
    divided = divisors_of(proposed, [*proposed.moved])
    return {} if proposed.lacks else far_counts(probes, proposed, divided, beside.multiples)


def _unrefuted(
    problem: Problem, probed: Probed, probes: Probes, apart: Iterator[Aligned], seen: tuple[Aligned, ...]
) -> tuple[Proposed | None, Beside, tuple[Aligned, ...]]:
    """Formulas that nothing beside the base contradicts, what that shows, and what they were seen to agree with."""
    beside = Beside(moving={})
    contradicting: list[Point] = []
    while (proposed := _proposed(problem, probed, probes, apart, seen)) is not None:
        beside = look_beside(probes, proposed)
        new = [there for there in beside.contradicting if there.point not in contradicting]
        contradicting += [there.point for there in new]
        seen = tuple({key(there.point): there for there in (*new, *proposed.apart)}.values())
        if not new or len(contradicting) > MOST_CONTRADICTING:
            break
    return proposed, beside, seen


def _with_more_moving(
    problem: Problem,
    probed: Probed,
    probes: Probes,
    moving: Mapping[str, Aligned],
    seen: tuple[Aligned, ...],
    *,
    near: bool,
) -> Derivation | None:
    """The derivation with these symbols in it: a small step moved a size, where their own probes had moved none."""
    before = dict(probes.values)
    probes.values |= {name: there.point[name] for name, there in moving.items()}
    turning = {n: there for n, there in probed.turning.items() if n not in moving}
    probed = replace(probed, moved={**probed.moved, **moving}, turning=turning, values=dict(probes.values))
    found = _proposed_and_proved(problem, probed, probes, seen, near=near)
    if found is None or not found.exact:
        probes.values = before
    return found


def _apart(probed: Probed, probes: Probes, *, near: bool) -> Iterator[Aligned]:
    return probes.apart({n: v for n, v in probed.values.items() if n in probed.moved}, near=near)


def _proposed(
    problem: Problem, probed: Probed, probes: Probes, apart: Iterator[Aligned], seen: Sequence[Aligned]
) -> Proposed | None:
    """seen: traces that earlier proposals rested on, or were contradicted by: none of them is forgotten."""
    found = dims_of(probes, probed.moved, apart, seen)
    dims = found.dims
    if probed.depth and any(len({dims[k.storage] for k in g.members} - {None}) > 1 for g in probed.groups):
        return None  # the layers are alike at the base point by chance
    groups = tuple(Group(g.key, g.members, g.count, shared(dims, g.members)) for g in probed.groups)
    repeating = {repeat.name for g in groups for repeats, _ in g.count.slopes for repeat in repeats}
    return stage(
        Proposed,
        probed,
        groups=groups,
        symbols=tuple(n for n in problem.working if n in probed.moved or n in repeating),
        apart=found.seen,
        untold=found.untold,
    )


def _held_out(proposed: Proposed, probes: Probes, apart: Iterator[Aligned]) -> list[Point]:
    """The points at which the formulas are put to the proof."""
    if not proposed.moved:  # nothing moves a size: the base is its own proof, unless something was left untried
        return [] if proposed.skipped else [dict(proposed.base)]
    # The last may be one that told rivals apart, where one symbol is moved alone: that is no proof of all of them.
    last = [there for there in proposed.apart[-1:] if all(there.point[n] != proposed.base[n] for n in proposed.moved)]
    held_out = [*last, *itertools.islice(apart, MORE_PROOFS)]
    layers = {n: proposed.base[n] for n, v in probes.base.items() if v != proposed.base[n] and n not in proposed.depth}
    return [{**there.point, **layers} for there in held_out]


def _proved(problem: Problem, proposed: Proposed, probes: Probes, points: list[Point], beside: Beside) -> Derivation:
    """With the verdict of the held-out points, of which the first gets more layers than the base if there is depth."""
    if not points:
        return stage(Derivation, proposed, proofs=(), exact=False, missed=None, multiples=(), unclear=())
    deep = {d: p * max(SHALLOW + 2, min(DEEP, problem.working[d]) // p) for d, p in proposed.periods.items()}
    points = [{**points[0], **deep}, *points[1:]]
    traces = [probes.at(point) for point in points]
    misses = [m for t in (*(a.trace for a in beside.contradicting), *filter(None, traces)) for m in proposed.misses(t)]
    missed = next((m for m in misses if m.counted), None)
    # What is listed beside the sum keeps its number where its own formula does not hold.
    unknown = {m.table for m in misses if not m.counted}
    groups = tuple(replace(g, dims=None) if g.key.table in unknown else g for g in proposed.groups)
    return stage(
        Derivation,
        replace(proposed, groups=groups),
        proofs=tuple(points),
        exact=not proposed.lacks and missed is None and None not in traces,
        missed=None if proposed.lacks else missed,
        multiples=tuple(dict.fromkeys((*beside.multiples, *whole_dimensions(proposed)))),
        unclear=(*beside.unclear, *beside.moving),
    )
