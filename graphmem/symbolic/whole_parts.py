"""Parts of a dimension that are whole numbers wherever it was traced: n²/w of b n²/w, where windows of w fill an image.

Where b n²/w is a whole number and n²/w is not, as for 3 images, the windows do not fill one: that was not traced.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import sympy

from graphmem.points import Point
from graphmem.symbolic.curves import evaluate


def whole_parts(dims: Iterable[sympy.Expr], traced: Sequence[Point]) -> tuple[sympy.Expr, ...]:
    """For each quotient among `dims`, and among the terms of sums, the least part that was whole at all points, if that
    is less than all of it."""
    terms = {term for dim in dims for term in sympy.Add.make_args(dim)}
    return tuple(sorted({part for term in terms for part in _part(term, traced)}, key=str))


def _part(term: sympy.Expr, traced: Sequence[Point]) -> Iterator[sympy.Expr]:
    powers = [(x, power) for x, power in term.as_powers_dict().items() if not x.is_Number]
    above = [x**power for x, power in powers if power.is_positive]
    below = math.prod(x**power for x, power in powers if power.is_negative)
    if below == 1 or len(above) < 2:
        return
    kept = sorted(above, key=str)
    for one in [*kept]:
        rest = [x for x in kept if x is not one]
        if rest and all(evaluate(sympy.Mul(below, *rest), point) is not None for point in traced):
            kept = rest
    if len(kept) < len(above):
        yield sympy.Mul(below, *kept)
