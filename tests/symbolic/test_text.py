"""Formulas read as in the literature."""

import pytest
import sympy

from graphmem.symbolic.curves import symbol
from graphmem.symbolic.text import formula

a, b, f, h, k, s, v, L = (symbol(n) for n in "abfhksvL")
POINT = {"a": 16, "b": 4, "f": 4096, "h": 1024, "k": 4, "s": 512, "v": 50000, "L": 12}

CASES = [
    (34 * s * b * h + 5 * a * s**2 * b, "34sbh + 5as²b"),
    (10 * s * b * h + 4 * a * b * s + 24, "10sbh + 4abs + 24"),
    (16 * s * b + 2 * s * b * h, "2sbh + 16sb"),
    (2 * s * b * v, "2sbv"),
    (a * s**2 * b, "as²b"),
    (4 * s * b * h * k / a, "4sbhk/a"),
    (1 / a, "1/a"),
    (-1 / a, "-1/a"),
    (sympy.Rational(3, 2) / a, "(3/2)/a"),
    (3 / symbol("width"), "3/width"),
    (s * b * h * sympy.Rational(8, 3), "(8/3)sbh"),
    (4 * a * b * 32 * sympy.ceiling(s / 32), "4abceil32(s)"),
    (2 * s * b * h - 2 * b * h, "2sbh - 2bh"),
    (symbol("width") * s * 2, "2·s·width"),
    (sympy.Integer(0), "0"),
    (-s * b, "-sb"),
    (-symbol("width") * s, "-s·width"),
    (s**2 + 1000 * s * b, "s² + 1000sb"),  # small terms last, however large they are here
    (3 * sympy.ceiling(s / 32), "3ceil(s/32)"),
    (sympy.ceiling(s / 3), "ceil(s/3)"),
    (2 * sympy.ceiling(s / 2), "ceil2(s)"),
    (b * sympy.floor(h / a), "bfloor(h/a)"),
    (b * sympy.Max(s, v), "b(Max(s, v))"),
    (b * sympy.Min(s, v), "bmin(s, v)"),
]


@pytest.mark.parametrize(("expression", "text"), CASES, ids=[t for _, t in CASES])
def test_text(expression, text) -> None:
    assert formula(expression, POINT) == text


def test_depth_is_factored_out() -> None:
    assert formula(L * (34 * s * b * h + 5 * a * s**2 * b) + 2 * s * b * v, POINT, ("L",)) == "L(34sbh + 5as²b) + 2sbv"
    assert formula(L * 2 * s * b * h, POINT, ("L",)) == "L(2sbh)"
    assert formula(L * 2 * s * b * h - 2 * b * h, POINT, ("L",)) == "L(2sbh) - 2bh"


@pytest.mark.parametrize(
    ("expression", "text"),
    [(5 * s + 3 * s * b, "5s + 3sb"), (2 * s + 2 * s * b, "2sb + 2s")],
    ids=["where a symbol has no value it is 1", "of as many bytes, the one with more symbols first"],
)
def test_order_without_a_point(expression, text) -> None:
    assert formula(expression, {}) == text
