"""From traces at chosen points to an expression for every storage that is alive, and a proof.

base        the working point, with as few layers as show how they repeat
deeper      one layer more, per depth symbol: what repeats
moved       one symbol moved: exponents and sums, from shapes that correspond operator by operator
check       all symbols moved: tells apart what fits `moved` equally well; only where something does
held out    all symbols moved again, thrice, once with more layers: every size must come out to the byte
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphmem.accounts.saved import sort_storages
from graphmem.errors import GraphmemError
from graphmem.points import Point
from graphmem.record import Trace
from graphmem.symbolic.align import Aligned, Base
from graphmem.symbolic.derived import Derivation, Group
from graphmem.symbolic.dims import dims_of, shared
from graphmem.symbolic.enough import is_enough
from graphmem.symbolic.group import Count, Key, Step
from graphmem.symbolic.loops import Loop, Looped
from graphmem.symbolic.probes import Probes
from graphmem.symbolic.single import MoreLayersNeededError, Single, single_of
from graphmem.symbolic.tracer import TraceAt

# So many layers of each kind, or rounds of those that take turns, show how they repeat.
SHALLOW = 2


def derive(
    tracer: TraceAt, working: Point, model_symbols: frozenset[str], depth: Mapping[str, int], unlike: Sequence[str] = ()
) -> Derivation | None:
    """Trace what is needed around `working` and derive. None where `depth` does not repeat layers that are alike.

    depth: symbols that count layers, and how many of these come again together. unlike: symbols that do count layers,
    but layers of which not all are alike: they stay as they are.
    """
    base = {**working, **{d: SHALLOW * period for d, period in depth.items()}}
    trace = tracer(base)
    deeper = {d: tracer({**base, d: base[d] + period}) for d, period in depth.items()}
    start = Base(trace, sort_storages(trace))
    try:
        single = single_of(tracer, start, depth or dict.fromkeys(unlike, 1))
        derived = _derive(tracer, working, model_symbols, start, deeper, single) if single else None
        if derived is not None and is_enough(tracer, derived):
            return derived
    except (MoreLayersNeededError, GraphmemError):
        pass
    return _derive(tracer, working, model_symbols, start, deeper)


def _derive(
    tracer: TraceAt,
    working: Point,
    model_symbols: frozenset[str],
    start: Base,
    deeper: Mapping[str, Trace],
    single: Single | None = None,
    still: frozenset[str] = frozenset(),
) -> Derivation | None:
    """still: symbols that are not moved."""
    base, depth = start.trace.point, list(deeper)
    if Looped(start, {}).counts(deeper) is None:
        return None
    probes = Probes(tracer, start, model_symbols, single)
    still |= {n for n, v in probes.base.items() if v != base[n]}
    names = [n for n, v in base.items() if n not in (*depth, *still) and v > 0]
    moved = {n: t for n in names if (t := probes.moved(n)) is not None}
    moved |= _together(probes, [n for n in names if n not in moved and n in model_symbols and n not in probes.skipped])
    loops = {n: _loop(tracer, step, turned, deeper) for n, (step, turned) in probes.steps.items()}
    looped = Looped(start, loops)
    how_often = looped.counts(deeper)
    if how_often is None:  # turns that are not alike
        return None if depth else _derive(tracer, working, model_symbols, start, deeper, single, still | {*loops})
    moving = {n: t for n, t in moved.items() if n in probes.steps or probes.moves_something(t)}
    found = Derivation(
        base=base,
        trace=start.trace,
        deeper=deeper,
        loops=loops,
        kept=start.kept,
        groups=(),
        depth=tuple(depth),
        symbols=(),
        refused=tuple(n for n in base if n in {*names, *still} - {*depth, *moved, *probes.follows}),
        doubtful=tuple(dict.fromkeys(probes.doubtful)),
        follows={name: tuple(leaders) for name, leaders in probes.follows.items()},
        proofs=() if moving or probes.skipped else (dict(base),),
        skipped=tuple(probes.skipped),
        exact=False,
        moved=moving,
        values=probes.values,
        apart=(),
        model_symbols=model_symbols,
    )
    for near in (False, True):
        derived = _with_groups(found, looped, how_often, probes, working, near=near)
        if derived is None or derived.exact or not derived.proofs or not moving:
            break  # a window may have cut off what is far, and nothing of what is near
    return derived


def _with_groups(
    found: Derivation, looped: Looped, how_often: Mapping[Key, Count], probes: Probes, working: Point, *, near: bool
) -> Derivation | None:
    """`found` with expressions and their proof. None where `depth` does not repeat layers that are alike."""
    apart = probes.apart({n: v for n, v in probes.values.items() if n in found.moved}, near=near)
    dims, seen = dims_of(probes, found.moved, apart)
    if found.depth and any(len({dims[k.storage] for k in m} - {None}) > 1 for m in looped.members.values()):
        return None  # layers alike at the base alone
    repeating = {step.name for count in how_often.values() for steps, _ in count.slopes for step in steps}
    derived = replace(
        found,
        groups=tuple(Group(key, tuple(m), how_often[key], shared(dims, m)) for key, m in looped.members.items()),
        symbols=tuple(n for n in working if n in found.moved or n in repeating),
        apart=tuple(seen),
    )
    held_out = [*seen[-1:], *itertools.islice(apart, MORE_PROOFS)] if found.moved else []
    layers = {n: found.base[n] for n, v in probes.base.items() if v != found.base[n] and n not in found.depth}
    return _proved(derived, probes, [{**there.point, **layers} for there in held_out], working)


def _loop(tracer: TraceAt, step: Step, turned: Trace, deeper: Mapping[str, Trace]) -> Loop:
    return Loop(step, turned, {d: tracer({**turned.point, d: t.point[d]}) for d, t in deeper.items()})


# So many layers has the first held-out point, if the model has them: patterns of up to six show.
DEEP = 7
# So many held-out points besides.
MORE_PROOFS = 2


def _together(probes: Probes, refused: list[str]) -> dict[str, Aligned]:
    """Of symbols that cannot be moved alone those that can be moved with another one: k with a where all heads have
    their own keys, and h with the head size. Those of the same size are tried first."""
    moved: dict[str, Aligned] = {}
    pairs = [(x, y) for x in refused for y in refused if x != y]
    pairs.sort(key=lambda pair: probes.base[pair[0]] != probes.base[pair[1]])
    for leader, other in pairs[:MOST_PAIRS]:
        if leader not in moved and leader not in probes.follows and other not in moved:
            found = probes.moved_together(leader, other)
            if found is not None:
                moved[leader] = found
    return moved


MOST_PAIRS = 12


def _proved(derived: Derivation, probes: Probes, held_out: list[Point], working: Point) -> Derivation:
    """With the verdict of the held-out points, the first taken with more layers than the base where there is depth."""
    points = held_out or list(derived.proofs)
    if not points:
        return derived
    deep = {d: p * max(SHALLOW + 2, min(DEEP, working[d]) // p) for d, p in derived.periods.items()}
    points[0] = {**points[0], **deep}
    if any(g.dims is None for g in derived.groups):
        return replace(derived, proofs=tuple(points))
    traces = [probes.at(point) for point in points]
    return replace(derived, proofs=tuple(points), exact=all(t is not None and derived.holds(t) for t in traces))
