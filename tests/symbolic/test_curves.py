"""One dimension at a time: what is found from values at moved points, and what is not claimed."""

import pytest

from graphmem.symbolic.curves import Samples, candidates, evaluate, symbol

BASE = {"b": 4, "s": 512, "h": 768, "a": 12, "p": 16}
MOVED = {"b": 11, "s": 773, "h": 1536, "a": 6, "p": 8}
CHECK = {"b": 7, "s": 801, "h": 2304, "a": 24, "p": 32}


def seen(function):
    at_moved = {n: function(**{**BASE, n: v}) for n, v in MOVED.items()}
    return Samples(BASE, MOVED, function(**BASE), at_moved)


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
