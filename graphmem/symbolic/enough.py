"""Whether one layer of each kind was enough to move sizes in: `is_enough`."""

from __future__ import annotations

from graphmem.points import Point
from graphmem.symbolic.derived import Derivation
from graphmem.symbolic.points import Coincidence, coincidences
from graphmem.symbolic.tracer import TraceAt

# So many traces more are worth it.
_MOST_CHECKS = 3


def is_enough(tracer: TraceAt, derived: Derivation) -> bool:
    """Whether a derivation from a single layer is as good as one from more: the formula is proved, also for one layer,
    and for more where no two sizes go together; or it is right for two layers and wrong for many."""
    depth = derived.depth
    if derived.exact:
        one = not depth or derived.holds(tracer({**derived.base, **derived.periods}))
        return one and _told_apart(tracer, derived)
    if not depth or not derived.proofs or any(g.dims is None for g in derived.groups):
        return False
    return derived.holds(tracer({**derived.proofs[0], **{d: derived.base[d] for d in depth}}))


def _told_apart(tracer: TraceAt, derived: Derivation) -> bool:
    """Whether no layer can have one size where another has one that is the same by chance: h and f, k and a.

    Held-out points may keep such chances, since a model may need them. With single symbols moved, it does not.
    """
    several = [p for p in derived.proofs if all(p[n] >= v for n, v in derived.base.items() if n in derived.depth)]
    left = coincidences(derived.base, list(derived.moved))
    left = [c for c in left if all(c.holds_at(point, derived.base) for point in several)]
    for _ in range(_MOST_CHECKS if left else 0):
        point = _moved_against(left, derived)
        if not derived.holds(tracer(point)):
            return False
        left = [c for c in left if c.holds_at(point, derived.base)]
        if not left:
            break
    return not left


def _moved_against(chances: list[Coincidence], derived: Derivation) -> Point:
    """The base with some symbols moved, so that as many as possible of `chances` do not hold there."""
    point = dict(derived.base)
    for chance in chances:
        if chance.holds_at(point, derived.base):
            free = [n for n in (chance.size, *chance.others) if point[n] == derived.base[n]]
            point |= {n: derived.values[n] for n in free[:1]}
    return point
