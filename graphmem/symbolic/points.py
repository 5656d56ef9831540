"""Which points to trace: one per symbol with that alone moved, and one with all moved that nothing is derived from."""

from __future__ import annotations

import random
from collections.abc import Iterator

Point = dict[str, int]
_TRIES = 12


def moves(value: int, *, shapes_model: bool) -> list[int]:
    """Other values for a symbol, likeliest to be accepted first.

    Sizes of the inputs are moved to something odd, so that a rounding shows. Sizes of the model have divisors to
    respect and limits to stay under (a larger head may need another kernel), so they are halved first.
    """
    if shapes_model:
        tries = [value // 2 if value % 2 == 0 else 0, 2 * value, 3 * value, value * 3 // 2, value + 1, value - 1]
    else:
        tries = [value + value // 2 + 5, value // 2 + 3, 2 * value, value // 2, value + 1, value - 1]
    return [v for v in dict.fromkeys(tries) if v > 0 and v != value]


def held_out(base: Point, moved: Point, model_symbols: frozenset[str]) -> Iterator[Point]:
    """Points that differ from `base` in every symbol of `moved`, none of which was probed.

    First every symbol goes its own way; where a constructor refuses that, the model's sizes grow together.
    """
    chance = random.Random(0)
    for _ in range(_TRIES):
        point = dict(base)
        for name in moved:
            choices = [v for v in _far(base[name], name in model_symbols) if v != moved[name]]
            point[name] = chance.choice(choices)
        yield point
    for factor in (3, 2, 5):
        yield {
            name: value if name not in moved else value * factor if name in model_symbols else value + value // 3 + 3
            for name, value in base.items()
        }
    for name in moved:  # one input size is better than no proof at all
        if name not in model_symbols:
            yield {**base, name: base[name] + base[name] // 3 + 3}


def _far(value: int, shapes_model: bool) -> list[int]:
    if shapes_model:
        return [
            v for v in (value // 4 * (value % 4 == 0), value * 3 // 2 * (value % 2 == 0), 3 * value, 2 * value) if v
        ]
    return [value + value // 3 + 3, value + value // 5 + 2]
