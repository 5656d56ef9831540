"""Roundings that look like something simpler: points in, formula out."""

from __future__ import annotations

import pytest
import sympy

from graphmem.symbolic.curves import Samples, evaluate, symbol
from graphmem.symbolic.roundings import disguised

a, h, n, p, v = map(symbol, "ahnpv")


def sampled(size: sympy.Expr, base: dict[str, int], moved: dict[str, int]) -> Samples:
    """`size` at the base and where each symbol alone is moved."""
    at_moved = {name: evaluate(size, {**base, name: value}) for name, value in moved.items()}
    return Samples(base, moved, evaluate(size, base), at_moved)


@pytest.mark.parametrize(
    ("size", "base", "moved"),
    [
        pytest.param(512 * sympy.ceiling(v / 512), {"v": 2048}, {"v": 1024}, marks=pytest.mark.slow),
        (32 * sympy.floor(v / 32), {"v": 128}, {"v": 64}),
        pytest.param(256 * sympy.ceiling(sympy.floor(8 * h / 3) / 256), {"h": 512}, {"h": 256}, marks=pytest.mark.slow),
        (sympy.floor(n / p) ** 2, {"n": 32, "p": 2}, {"n": 16, "p": 4}),
        (3 * a * sympy.floor(h / a), {"h": 64, "a": 4}, {"h": 32, "a": 5}),
        pytest.param(a * sympy.floor(h / a), {"h": 64, "a": 4}, {"h": 32, "a": 2}, marks=pytest.mark.slow),
    ],
)
def test_what_a_simpler_expression_hides(size: sympy.Expr, base: dict[str, int], moved: dict[str, int]) -> None:
    assert any(sympy.simplify(size - found) == 0 for found in disguised(sampled(size, base, moved)))


def test_all_that_is_found_agrees() -> None:
    seen = sampled(v, {"v": 2048, "h": 64}, {"v": 1024, "h": 32})
    for found in disguised(seen):
        assert evaluate(found, seen.base) == 2048
        assert evaluate(found, {**seen.base, "v": 1024}) == 1024
