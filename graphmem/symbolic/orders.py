"""`bounds_of_orders`: which of two sizes has to be the larger one, and how large a size may be.

A width of min(h, f) is h wherever f is larger, and looks like h alone. So every size is also made far larger, and far
smaller, while others do the opposite: in a few points every size is once above every other one that it was below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from graphmem.points import Point
from graphmem.symbolic.beside import divisors_of
from graphmem.symbolic.bounds import AnyBound, Bound, Unequal, Uneven
from graphmem.symbolic.edges import LENGTH, bound_at, edge
from graphmem.symbolic.holds import Holds
from graphmem.symbolic.points import COUNTS, FAR, ODD

# Sizes that need divisors are made so many times as large, or as small; the others FAR times.
_NEARER = (FAR, 4, 2)
# So many bounds are looked for at one point.
_MOST = 3

Bounds = Sequence[AnyBound]


def bounds_of_orders(holds: Holds, known: Bounds) -> Iterator[Bound]:
    """The bounds, besides `known` ones, beyond which sizes of the model are too large or too small for others."""
    clusters, lengths, rows = _all_rows(holds)
    found: list[AnyBound] = list(known)
    undecided = [row for row in rows if not _decides(holds, row, found)]
    if undecided:  # the model wants sizes in proportion: then all of them go one way
        together = [name for cluster in clusters for name in cluster]
        rows += _rows([together], holds.base)
    # Of heads that divide a width each is also made far larger alone: the size of a head decides about kernels, and of
    # what they round nothing shows at an even length.
    odd = {n: holds.base[n] - 2 | 1 for n in lengths}
    alone = [{**odd, n: holds.base[n] * FAR} for cluster in clusters if len(cluster) > 1 for n in cluster]
    rows += [row for row in alone if _decides(holds, row, found)]
    for row in rows:
        for bound in _of_row(holds, row, found):
            found.append(bound)
            yield bound


def grown(holds: Holds, known: Bounds) -> set[str]:
    """Sizes of the model that are far larger at one of these points where the formula holds: they have no largest
    value."""
    _, _, rows = _all_rows(holds)
    points = (point for row in rows if holds.there(point := _clipped(holds, row, known)))
    far = {n: FAR * v for n, v in holds.base.items() if n in holds.derived.model_symbols}
    return {n for point in points for n, v in point.items() if n in far and v >= far[n]}


def _all_rows(holds: Holds) -> tuple[list[list[str]], list[str], list[Point]]:
    """What is moved together, of the model and of the inputs; and the points of all of them."""
    clusters, lengths = _clusters(holds), _lengths(holds)
    return clusters, lengths, list(_rows([*clusters, *([lengths] if lengths else [])], holds.base)) if clusters else []


def differing(holds: Holds, known: Bounds) -> Iterator[Unequal]:
    """Sizes of the model that must not be as large as its width, which heads divide: all of them are made so at once,
    and each if that shows something."""
    clusters = _clusters(holds)
    free = [c[0] for c in clusters if len(c) == 1 and holds.base[c[0]] > COUNTS]
    widths = [n for c in clusters if len(c) > 1 for n in c if holds.base[n] > COUNTS]
    largest = max(widths, key=holds.base.__getitem__, default="")
    moved = {n: holds.base[largest] for n in free if largest and holds.base[n] != holds.base[largest]}
    moved = {n: v for n, v in moved.items() if not any(b.keeps_out({**holds.base, n: v}) for b in known)}
    if not moved or not _differs(holds, moved):
        return
    for name, value in moved.items():
        if _differs(holds, {name: value}):
            yield Unequal(name, largest)


def _differs(holds: Holds, moved: Point) -> bool:
    """Whether the model runs there, with the same kernels, and the formula does not hold."""
    return holds.there(moved) is False and holds.runs_alike(moved)


def _clusters(holds: Holds) -> list[list[str]]:
    """Symbols of the model that are moved together, since one has to divide the other."""
    derived = holds.derived
    apart = {*derived.depth, *derived.loops, *derived.follows, *derived.fixed}
    names = [n for n in derived.values if n in derived.model_symbols and n not in apart]
    divisors: Mapping[str, set[str]] = divisors_of(derived, names)
    clusters: list[list[str]] = []
    for name in names:
        tied = [c for c in clusters if any(_are_tied(name, other, divisors, holds.base) for other in c)]
        clusters = [c for c in clusters if c not in tied] + [[*itertools.chain(*tied), name]]
    return clusters


def _are_tied(one: str, other: str, divisors: Mapping[str, set[str]], base: Point) -> bool:
    low, high = sorted((base[one], base[other]))
    return one in divisors[other] or other in divisors[one] or (high <= COUNTS and high % low == 0)


def _lengths(holds: Holds) -> list[str]:
    derived = holds.derived
    apart = {*derived.model_symbols, *derived.depth, *derived.loops, *derived.fixed}
    return [n for n in derived.moved if n not in apart and holds.base[n] >= LENGTH]


def _rows(clusters: list[list[str]], base: Point) -> Iterator[Point]:
    """Points in which every cluster is once up where any other one is down: no cluster is up only where another is."""
    rows = next(n for n in itertools.count(2) if math.comb(n, n // 2) >= len(clusters))
    ups = list(itertools.islice(itertools.combinations(range(rows), rows // 2), len(clusters)))
    for row in range(rows):
        yield {
            name: base[name] * FAR if row in up else small
            for cluster, up in zip(clusters, ups, strict=True)
            for name, small in _smaller(cluster, base).items()
        }


def _smaller(cluster: list[str], base: Point) -> dict[str, int]:
    """The sizes of a cluster, far smaller: all by the same factor, if that leaves whole numbers above 1."""
    if len(cluster) == 1 and base[cluster[0]] > COUNTS:
        return {cluster[0]: base[cluster[0]] // FAR}
    by = next((f for f in _NEARER if all(base[n] % f == 0 and base[n] > f for n in cluster)), 1)
    return {n: base[n] // by for n in cluster}


def _clipped(holds: Holds, row: Point, found: Bounds) -> Point:
    """The row within the bounds that are known; each may move with a symbol that another one moves."""
    point = {n: v | ODD if v > holds.base[n] and n not in holds.derived.model_symbols else v for n, v in row.items()}
    for bound in [*found] * len(found):
        whole = {**holds.base, **point}
        if bound.name in point and bound.keeps_out(whole):
            point = {**point, bound.name: max(_near(bound, whole), 1)}
    return point


def _near(bound: AnyBound, point: Point) -> int:
    """The value of the bound's symbol nearest to the point's at which the formula may hold."""
    if isinstance(bound, Bound):
        return bound.at(point)
    here = point[bound.name]
    return here + 1 if isinstance(bound, Uneven | Unequal) else here // bound.step(point) * bound.step(point)


def _decides(holds: Holds, row: Point, found: Bounds) -> bool:
    """Whether the model runs there, with the same kernels."""
    return holds.runs_alike(_clipped(holds, row, found))


def _of_row(holds: Holds, row: Point, found: Bounds) -> Iterator[Bound]:
    """Bounds until the row, within them, is a point at which the formula holds."""
    for _ in range(_MOST):
        point = _clipped(holds, row, found)
        if holds.there(point) is not False or holds.refuses(point):
            return
        bound = _bound(holds, _needed(holds, point, found))
        if bound is None or bound in found:
            return
        yield bound
        found = [*found, bound]


def _needed(holds: Holds, point: Point, found: Bounds) -> dict[str, int]:
    """As few of the point's symbols as have to move for the formula not to hold, though the bounds do, the model's
    last."""
    needed = {n: v for n, v in point.items() if v != holds.base[n]}
    for name in sorted(needed, key=lambda n: n in holds.derived.model_symbols):
        less = {n: v for n, v in needed.items() if n != name}
        known = any(bound.keeps_out({**holds.base, **less}) for bound in found)
        if not known and holds.there(less) is False and holds.runs_alike(less):
            needed = less
    return needed


def _bound(holds: Holds, needed: Point) -> Bound | None:
    """The bound of the last of these symbols, with the others moved."""
    if not needed or not holds.runs_alike(needed):
        return None
    name = list(needed)[-1]
    moved = {n: v for n, v in needed.items() if n != name}
    there = holds._replace(base={**holds.base, **moved}, name=name)
    here, far = holds.base[name], needed[name]
    if there.at(here + 1):
        bound = edge(there, here, far, 1)
    elif far > here:
        bound = _last_double(there, here, far)
    else:
        bound = edge(there, here, far, far)
    return bound and bound._replace(value=bound.at(holds.base))


def _last_double(holds: Holds, here: int, far: int) -> Bound | None:
    """The bound of a size that has divisors: a number that is twice as large still has them."""
    while here < far:
        if holds.at(2 * here) is False:
            return bound_at(holds, here, here)
        here *= 2
    return None
