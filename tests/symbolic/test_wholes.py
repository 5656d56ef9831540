"""Whole windows, and sums of sizes that other tensors have, from samples that are worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy

from graphmem.symbolic.curves import Samples, evaluate, symbol
from graphmem.symbolic.joined import joined
from graphmem.symbolic.wholes import wholes

B, S, T, N, P, W = map(symbol, ("b", "s", "t", "n", "p", "w"))
BASE = {"b": 2, "s": 1000, "t": 77, "n": 230, "p": 4, "w": 12}
MOVED = {"b": 5, "s": 1537, "t": 153, "n": 381, "p": 8, "w": 7}


def samples(size: Callable[..., int]) -> Samples:
    return Samples(BASE, MOVED, size(**BASE), {name: size(**{**BASE, name: MOVED[name]}) for name in BASE})


def side(n: int, p: int, w: int) -> int:
    return -(-(n // p) // w)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (lambda s, w, **_: -(-s // w) * w, W * sympy.ceiling(S / W)),
        (lambda b, s, w, **_: -(-s // w) * b, B * sympy.ceiling(S / W)),
        (lambda s, w, **_: s // w * w, W * sympy.floor(S / W)),
        (lambda n, p, w, **_: side(n, p, w) * w, W * sympy.ceiling(sympy.floor(N / P) / W)),
        (lambda b, n, p, w, **_: b * side(n, p, w) ** 2, B * sympy.ceiling(sympy.floor(N / P) / W) ** 2),
        (lambda s, **_: -(-s // 100) * 100, 100 * sympy.ceiling(S / 100)),
        (lambda n, p, **_: side(n, p, 7) * 7, 7 * sympy.ceiling(sympy.floor(N / P) / 7)),
    ],
)
def test_whole_windows(size: Callable[..., int], expected: sympy.Expr) -> None:
    assert expected in wholes(samples(size), [sympy.floor(N / P), B * S])


def test_windows_of_a_number_that_another_tensor_has_shown() -> None:
    known = 7 * sympy.ceiling(sympy.floor(N / P) / 7)
    expected = B * sympy.ceiling(sympy.floor(N / P) / 7) ** 2
    assert expected in wholes(samples(lambda b, n, p, **_: b * side(n, p, 7) ** 2), [known])


@pytest.mark.parametrize("size", [lambda s, t, **_: s * t + 3, lambda s, w, **_: s * w + 5])
def test_whatever_is_found_agrees_with_the_samples(size: Callable[..., int]) -> None:
    seen = samples(size)
    for one in wholes(seen, [sympy.floor(N / P), S + T]):
        assert evaluate(one, BASE) == seen.at_base
        assert all(evaluate(one, {**BASE, n: MOVED[n]}) == value for n, value in seen.at_moved.items())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (lambda b, n, p, t, **_: b * ((n // p) ** 2 + t), sympy.expand(B * (sympy.floor(N / P) ** 2 + T))),
        (lambda s, t, w, **_: -(-s // w) * w + t, W * sympy.ceiling(S / W) + T),
    ],
)
def test_sums_of_known_sizes(size: Callable[..., int], expected: sympy.Expr) -> None:
    vocabulary = [sympy.floor(N / P) ** 2, W * sympy.ceiling(S / W), B * T]
    assert expected in joined(samples(size), vocabulary)


def test_no_sum_where_nothing_known_adds_up() -> None:
    assert joined(samples(lambda s, t, **_: s * t + 1), [sympy.floor(N / P), S]) == []
