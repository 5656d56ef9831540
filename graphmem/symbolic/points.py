"""Which points to trace: one per symbol with that alone moved, and one with all moved that nothing is derived from."""

from __future__ import annotations

import random
from collections.abc import Iterator

Point = dict[str, int]
_TRIES = 8
# Steps that leave the bucket of any rounding up: probes that of 32, to what kernels round, held-out points that of 256.
_STEP, _LONG_STEP = 37, 259


def moves(value: int, *, shapes_model: bool) -> list[int]:
    """Other values for a symbol, likeliest to be accepted first.

    Sizes of the inputs are moved to something odd and farther than any rounding. Sizes of the model have divisors to
    respect and limits to stay under (a larger head may need another kernel), so they are halved first.
    """
    if shapes_model:
        tries = [value // 2 if value % 2 == 0 else 0, 2 * value, 3 * value, value * 3 // 2, value + 1, value - 1]
    else:
        odd = [value + value // 2 + _STEP, value + value // 2 + 5, value // 2 + 3]
        tries = [*odd[:2], value + 40, *odd[2:], 2 * value, value // 2, value - 1]  # 40 more: aligned to 8 as before
    return [v for v in dict.fromkeys(tries) if v > 0 and v != value]


def held_out(base: Point, moved: Point, model_symbols: frozenset[str]) -> Iterator[Point]:
    """Points that differ from `base` in every symbol of `moved`, none of which was probed.

    First every symbol goes its own way; where a constructor refuses that, the model's sizes grow together.
    """
    chance = random.Random(0)
    for attempt in range(_TRIES):
        point = dict(base)
        for name in moved:
            shapes_model = name in model_symbols
            choices = [v for v in _far(base[name], shapes_model) if v not in (moved[name], base[name])]
            point[name] = chance.choice(choices) if shapes_model else choices[attempt % len(choices)]
        yield point
    for factor in (3, 2, 5):
        for aligned in (False, True):  # as many masks have to be: 104 is 8 times 13
            yield {
                name: value
                if name not in moved
                else value * factor
                if name in model_symbols
                else value + (104 * factor if aligned else value // 3 + 3)
                for name, value in base.items()
            }


def _far(value: int, shapes_model: bool) -> list[int]:
    if shapes_model:
        quarter, half_more = value // 4 * (value % 4 == 0), value * 3 // 2 * (value % 2 == 0)
        return [v for v in (quarter, half_more, 3 * value, 2 * value) if v]
    long = [value + value // 3 + _LONG_STEP, value + value // 5 + 2 * _LONG_STEP]
    return [*long, value + 72, value + value // 3 + 3, value // 3 + 2, 3 * value]
