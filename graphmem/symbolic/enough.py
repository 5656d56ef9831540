"""`is_enough`: whether probing one layer of each kind told as much as probing several would."""

from __future__ import annotations

from graphmem.points import Point
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.points import Coincidence, coincidences
from graphmem.symbolic.tracer import TraceAt

# So many further traces are worth it.
_MOST_CHECKS = 3


def is_enough(tracer: TraceAt, derived: Derivation) -> bool:
    """Whether a derivation from a single layer is as good as one from several.

    It is if the formula is proved, also for one layer, and nothing that is alike by chance could have misled it. It is,
    too, if the formula is right for two layers and wrong for many: then more layers would not help.
    """
    depth = derived.depth
    if derived.exact:
        one = not depth or derived.holds(tracer({**derived.base, **derived.periods}))
        return one and _told_apart(tracer, derived)
    if not depth or not derived.proofs or derived.lacks:
        return False
    return derived.holds(tracer({**derived.proofs[0], **{d: derived.base[d] for d in depth}}))


def _told_apart(tracer: TraceAt, derived: Derivation) -> bool:
    """Whether the formula also holds where sizes differ that are alike by chance at the base: h and f, k and a.

    One layer may have the one size and another layer the other. Held-out points may keep such coincidences, since a
    model may need them. Where single symbols were moved, it has shown that it does not.
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
    """The base with some symbols moved, so that as few as possible of `chances` still hold there."""
    point = dict(derived.base)
    for chance in chances:
        if chance.holds_at(point, derived.base):
            free = [n for n in (chance.size, *chance.others) if point[n] == derived.base[n]]
            point |= {n: derived.values[n] for n in free[:1]}
    return point
