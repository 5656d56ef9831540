"""Sizes that limit how long inputs may be: a base that no traced input comes near, where such a size is kept itself.

A longer input needs a longer table, so at most points the limit would move with the input. A buffer of that size would
then look as if it went with s. With the limit far above, both are symbols like any others.
"""

from __future__ import annotations

from collections import Counter

from graphmem.accounts.account import Account
from graphmem.errors import GraphmemError
from graphmem.points import Point, Room
from graphmem.symbolic.points import longest
from graphmem.symbolic.tracer import TraceAt

# Held-out points have sizes of the model down to this part of the base's.
_LEAST = 4


def far_limits(tracer: TraceAt, account: Account, room: Room, shallow: Point) -> dict[str, int]:
    """For each limit a value that no input of a derivation at `shallow` reaches; empty where that is so already, or
    where nothing is kept of such a size.

    shallow: the working point with few layers.
    """
    far = room.above(shallow, lambda length: _LEAST * longest(length))
    if far == shallow:
        return {}
    try:
        here, there = (Counter(k.nbytes for k in account(tracer(point))) for point in (shallow, far))
    except GraphmemError:  # the model takes no other value: the limit stays as it is
        return {}
    return {n: far[n] for n in room.limits} if here != there else {}
