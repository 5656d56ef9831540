"""`edge`: the last value of a symbol at which a formula holds, where it does not hold farther on.

The sizes that the model has are tried first, then round numbers.
"""

from __future__ import annotations

from graphmem.symbolic.bounds import Bound
from graphmem.symbolic.holds import Holds
from graphmem.symbolic.moving import moving_of

# A symbol with smaller values than this counts a few things: it is not taken for a length.
LENGTH = 16
# Limits are round: 4096 has one bit, 1536 two.
_ROUND_BITS = 2


def edge(holds: Holds, known: int, far: int, step: int) -> Bound | None:
    """The last value towards `far` at which the formula holds and the model runs; None if both are so at `far`, too."""
    if far == known or holds.at(far) is not False:
        return None
    up, inside, outside = far > known, known, far
    if holds.at(known) is False:  # a held-out point has other sizes of the model too, and may be longer for that
        inside, outside = holds.base[holds.name], known
    last = _last_of(holds, inside, outside, step if up else -step)
    return bound_at(holds, last, step if up else -step)


def bound_at(holds: Holds, last: int, on: int) -> Bound:
    """The bound that has `last` inside, and a step of `on` from there outside."""
    # A size of 1 broadcasts, whatever the other sizes are.
    refused = holds.refuses({holds.name: last + on})
    moving = None if (last, on) == (2, -1) else moving_of(holds, last, on, refused=refused)
    return Bound(holds.name, last, on > 0, moving, refused=refused)


def _last_of(holds: Holds, inside: int, outside: int, on: int) -> int:
    """The last value at which the formula holds; it holds at `inside`, and not at `outside`. Sizes that the model has
    are tried first."""
    own = holds.derived.model_symbols
    sizes = {v for n, v in holds.base.items() if n != holds.name and (n in own or v >= LENGTH)}
    for value in sorted(sizes, reverse=on < 0):
        for last in (value, value - on):
            if last % on or not min(inside, outside) < last < max(inside, outside):
                continue
            if not holds.at(last):
                outside = last
            elif holds.at(last + on) is False:
                return last
            else:
                inside = last
    step = abs(on)
    return _last(holds, inside // step, outside // step, step)


def _last(holds: Holds, inside: int, outside: int, step: int) -> int:
    """The last multiple of `step` at which the formula holds; it holds at `inside` steps, and not at `outside` steps.

    By bisection, but at round numbers: a limit is usually round, or one off.
    """
    while abs(outside - inside) > 1:
        middle = _roundest(inside, outside)
        on = 1 if outside > inside else -1
        held = holds.at(middle * step)
        inside, outside = (middle, outside) if held else (inside, middle)
        near = max(inside, outside) <= 2 * min(inside, outside)
        if near and middle.bit_count() <= _ROUND_BITS and abs(outside - inside) > 1:
            beside = middle + on if held else middle - on
            inside, outside = (beside, outside) if holds.at(beside * step) else (inside, beside)
    return inside * step


def _roundest(one: int, other: int) -> int:
    """The number strictly between the two that is divisible by the highest power of 2."""
    low, high = sorted((one, other))
    power = 1 << (high - low).bit_length()
    while (high - 1) // power == low // power:
        power //= 2
    return (high - 1) // power * power
