"""One dimension at a time: what is found from values at moved points, and what is not claimed."""

import pytest
import sympy

from graphmem.symbolic.curves import Samples, candidates, evaluate, symbol

BASE = {"b": 4, "s": 512, "h": 768, "a": 12, "p": 16}
MOVED = {"b": 11, "s": 773, "h": 1536, "a": 6, "p": 8}
CHECK = {"b": 7, "s": 801, "h": 2304, "a": 24, "p": 32}


# Here nothing divides anything.
ODD, ODD_MOVED = {"b": 4, "s": 1100, "h": 1540, "a": 12, "p": 16}, {"b": 11, "s": 2777, "h": 387, "a": 7, "p": 9}


def seen(function, base=BASE, moved=MOVED):
    at_moved = {n: function(**{**base, n: v}) for n, v in moved.items()}
    return Samples(base, moved, function(**base), at_moved)


CASES = {
    "b s": lambda b, s, **_: b * s,
    "3h": lambda h, **_: 3 * h,
    "h / a": lambda h, a, **_: h // a,
    "8h/3": lambda h, **_: 8 * h // 3,
    "s + 1": lambda s, **_: s + 1,
    "b (s - 1)": lambda b, s, **_: b * (s - 1),
    "2s - 1": lambda s, **_: 2 * s - 1,
    "ceil(h/16) + 2a": lambda h, a, **_: -(-h // 16) + 2 * a,
    "floor(s/4)": lambda s, **_: s // 4,
    "s + p": lambda s, p, **_: s + p,
    "(h / p)² + 1": lambda h, p, **_: (h // p) ** 2 + 1,
    "b ((h / p)² + 1)": lambda b, h, p, **_: b * ((h // p) ** 2 + 1),
    "ceil32(s)": lambda s, **_: -(-s // 32) * 32,
    "b ceil8(s)": lambda b, s, **_: b * (-(-s // 8) * 8),
    "constant": lambda **_: 7,
}


@pytest.mark.parametrize("name", CASES)
def test_the_right_expression_is_among_the_candidates(name) -> None:
    function = CASES[name]
    right = [e for e in candidates(seen(function)) if evaluate(e, CHECK) == function(**CHECK)]
    assert right, f"{candidates(seen(function))} give no {function(**CHECK)}"
    assert evaluate(right[0], BASE) == function(**BASE)


def test_a_monomial_has_no_rival() -> None:
    assert candidates(seen(CASES["b s"])) == [symbol("b") * symbol("s")]


def test_what_fits_no_form_is_not_made_up() -> None:
    def product_of_sums(b, s, **_):
        return (b + 3) * (s + 5)

    for expression in candidates(seen(product_of_sums)):
        assert evaluate(expression, CHECK) != product_of_sums(**CHECK)


def test_no_whole_number_is_no_value() -> None:
    assert evaluate(symbol("s") / 3, {"s": 4}) is None
    assert evaluate(symbol("s") * symbol("x"), {"s": 4}) is None


# -- which expression, and which besides ------------------------------------------------------------------------------

b, s, h, a, p = map(symbol, "bshap")


def values(expression):
    return lambda **point: evaluate(expression, point)


ALONE = [
    b * s, 3 * s**2 * h, b**3, h / a, s * h / p**2, sympy.Integer(7), 5 * b + 2 * s + 9, b * (s + h),
    b * (3 * s - h + 2), b * s * (a + 3),
]  # fmt: skip


@pytest.mark.parametrize("expected", ALONE, ids=str)
def test_no_other_form_agrees(expected) -> None:
    assert candidates(seen(values(expected))) == [sympy.expand(expected)]


# A line through the points agrees as well.
FIRST = [
    *(2 * b * h**2 / p**2 + c * b for c in (1, -1, 2, -2)), *(b**2 * s + c for c in (1, -1, 2, -2)),
    *(a * (h / p + c) for c in (1, -1, 2, -2)),
]  # fmt: skip


@pytest.mark.parametrize("expected", FIRST, ids=str)
def test_the_simplest_form_comes_first(expected) -> None:
    assert candidates(seen(values(expected)))[0] == sympy.expand(expected)


DIVIDED = [sympy.ceiling(h / 16) + 2 * a, sympy.floor(h / 16) + 2 * a, sympy.Rational(8, 3) * h]
ROUNDED = [
    *(3 * b * m * sympy.ceiling(s / m) for m in (2, 4, 8, 16, 32, 64, 128, 256, 512)),
    *(3 * b * m * sympy.floor(s / m) for m in (2, 4, 8, 16, 32, 64, 128, 256, 512)),
    4 * b * sympy.Min(s, h), b * sympy.floor(h / p), b * sympy.floor(h / p) ** 2, b * sympy.floor(h / p) + b,
    b * sympy.floor(h / p) ** 2 + b, a * sympy.floor(h / 5), a * sympy.floor(h / 5) ** 2 + a,
]  # fmt: skip
POINTS = [*((e, BASE, MOVED) for e in DIVIDED), *((e, ODD, ODD_MOVED) for e in ROUNDED)]


@pytest.mark.parametrize(("expected", "base", "moved"), POINTS, ids=map(str, (*DIVIDED, *ROUNDED)))
def test_a_form_that_is_among_those_that_agree(expected, base, moved) -> None:
    what = seen(values(expected), base, moved)
    found = candidates(what)
    assert sympy.expand(expected) in found
    for candidate in found:  # all of them agree with all that was seen
        assert evaluate(candidate, base) == what.at_base
        assert {n: evaluate(candidate, {**base, n: v}) for n, v in moved.items()} == what.at_moved


def test_a_rounding_of_a_size_that_the_model_has() -> None:
    patches = (h / p) ** 2 + 1
    expected = 4 * b * a * 32 * sympy.ceiling(patches / 32)
    assert expected in candidates(seen(values(expected)), [s + 1, patches])
    assert expected not in candidates(seen(values(expected)), [s + 1])
    assert expected not in candidates(seen(values(expected)))


def test_whole_factors_come_before_broken_ones() -> None:
    for expected in (32 * sympy.ceiling(s / 32), s + p, b * sympy.floor(s / 4)):
        found = candidates(seen(values(expected)))
        broken = [any(not t.as_coeff_Mul()[0].is_Integer for t in sympy.Add.make_args(e)) for e in found]
        assert broken == sorted(broken)
