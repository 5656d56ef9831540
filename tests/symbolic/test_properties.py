"""What holds for any expression: the right form is found again, and text says what the expression says."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from graphmem.symbolic.curves import Samples, candidates, evaluate, symbol
from graphmem.symbolic.read import read_expression
from graphmem.symbolic.text import formula

NAMES = "bshakv"
MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 256, 512)
Point = dict[str, int]


@st.composite
def two_points(draw: st.DrawFn) -> tuple[Point, Point]:
    """A value and another one for every symbol; all symbols differ, as the sizes of a model do."""
    sizes = st.integers(min_value=2, max_value=4000)
    values = draw(st.lists(sizes, min_size=2 * len(NAMES), max_size=2 * len(NAMES), unique=True))
    return dict(zip(NAMES, values[::2], strict=True)), dict(zip(NAMES, values[1::2], strict=True))


def monomials(names: str = NAMES, exponents: tuple[int, ...] = (1, 2, 3)) -> st.SearchStrategy[sympy.Expr]:
    powers = st.dictionaries(st.sampled_from(names), st.sampled_from(exponents), max_size=3)
    number = st.integers(min_value=1, max_value=300)
    return st.builds(lambda n, found: n * sympy.Mul(*(symbol(name) ** e for name, e in found.items())), number, powers)


def seen(expression: sympy.Expr, base: Point, moved: Point) -> Samples:
    """The expression at both points, as a trace would show it: in whole numbers."""
    there = {name: evaluate(expression, {**base, name: moved[name]}) for name in NAMES}
    here = evaluate(expression, base)
    assume(here is not None and here > 0 and all(there.values()))
    return Samples(base, moved, here or 0, {name: value or 0 for name, value in there.items()})


def found_for(expression: sympy.Expr, points: tuple[Point, Point]) -> list[sympy.Expr]:
    """The candidates, each of which has to agree with all that was seen."""
    base, moved = points
    what = seen(expression, base, moved)
    found = candidates(what, [symbol(name) for name in NAMES])
    for candidate in found:
        assert evaluate(candidate, base) == what.at_base
        for name in NAMES:
            assert evaluate(candidate, {**base, name: moved[name]}) == what.at_moved[name], candidate
    return found


@pytest.mark.slow
@given(monomials(exponents=(1, 2, 3)), two_points())
def test_a_monomial_is_found_and_has_no_rival(expression: sympy.Expr, points: tuple[Point, Point]) -> None:
    assert found_for(expression, points) == [expression]


@pytest.mark.slow
@given(monomials("sh"), st.sampled_from("bak"), st.sampled_from((1, 2)), two_points())
def test_a_quotient_is_found(top: sympy.Expr, below: str, power: int, points: tuple[Point, Point]) -> None:
    base, moved = points
    top *= (base[below] * moved[below]) ** power  # so that both divide
    assert top / symbol(below) ** power in found_for(top / symbol(below) ** power, points)


@given(
    monomials("hav"),
    st.dictionaries(st.sampled_from("bsk"), st.integers(min_value=1, max_value=9), min_size=1, max_size=3),
    st.integers(min_value=0, max_value=500),
    two_points(),
)
def test_a_sum_is_found(factor: sympy.Expr, slopes: dict[str, int], constant: int, points: tuple[Point, Point]) -> None:
    whole = factor * sympy.Add(constant, *(n * symbol(name) for name, n in slopes.items()))
    assert sympy.expand(whole) in map(sympy.expand, found_for(whole, points))


@given(
    monomials("bhak"),
    st.sampled_from(MULTIPLES),
    st.sampled_from((sympy.ceiling, sympy.floor)),
    two_points(),
)
def test_a_rounding_is_found_unless_it_looks_like_a_monomial(
    factor: sympy.Expr, multiple: int, rounding: type[sympy.Function], points: tuple[Point, Point]
) -> None:
    expression = factor * multiple * rounding(symbol("s") / multiple)
    found = found_for(expression, points)
    base, moved = points
    if expression not in found:
        assert found, expression
        divides = base["s"] % multiple == 0 == moved["s"] % multiple
        assert divides or not any(f.has(sympy.ceiling, sympy.floor) for f in found)


def sums() -> st.SearchStrategy[sympy.Expr]:
    """What formulas are made of: terms with whole or broken factors, some of them rounded or the smaller of two."""
    extra = st.sampled_from(
        [
            sympy.Integer(1),
            *(sympy.ceiling(symbol("s") / m) * m for m in MULTIPLES),
            sympy.floor(symbol("h") / 16),
            sympy.ceiling((symbol("s") + symbol("k")) / 32),
            sympy.Min(symbol("s"), symbol("v")),
        ]
    )
    number = st.builds(sympy.Rational, st.integers(-40, 40).filter(bool), st.integers(1, 6))
    term = st.builds(lambda n, m, x: n * m * x, number, monomials(exponents=(1, 2, 3, -1, -2)), extra)
    return st.lists(term, min_size=1, max_size=4).map(lambda terms: sympy.Add(*terms))


POINTS = st.fixed_dictionaries({name: st.integers(min_value=1, max_value=10**5) for name in NAMES})


@given(sums(), POINTS)
def test_the_value_is_that_of_sympy(expression: sympy.Expr, point: Point) -> None:
    value = expression.subs({symbol(name): size for name, size in point.items()})
    assert evaluate(expression, point) == (int(value) if value.is_Integer else None)


@given(sums())
def test_what_sympy_writes_is_read_back(expression: sympy.Expr) -> None:
    assert read_expression(str(expression), {name: symbol(name) for name in NAMES}) == expression


@given(sums(), POINTS)
@pytest.mark.parametrize("depth", [(), ("k",)])
def test_the_formula_says_the_value(depth: tuple[str, ...], expression: sympy.Expr, point: Point) -> None:
    value = sympy.expand(expression).subs({symbol(name): size for name, size in point.items()})
    assert value_of(formula(expression, point, depth), point) == Fraction(int(value.p), int(value.q))


SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
TOKEN = re.compile(
    r"(ceil|floor)(\d*)(?=\()|(min)(?=\()|([a-z])([⁰¹²³⁴⁵⁶⁷⁸⁹]*)|(\d+)|([-+/(),])|([· ]+)|([⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
)
FUNCTIONS = {
    "ceil": lambda x, m=1: -(-x // m) * m,
    "floor": lambda x, m=1: x // m * m,
    "min": min,
}


def value_of(text: str, point: Point) -> Fraction:
    """The formula as a reader reads it: what stands side by side is multiplied, and a / divides by all that follows."""
    value, end = _added(_tokens(text), 0, point)
    assert end == len(_tokens(text)), text
    return value


def _tokens(text: str) -> list[tuple[str, ...]]:
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match, text[at:]
        function, multiple, least, name, power, number, sign, space, raised = match.groups()
        if function or least:
            found.append(("call", function or least, multiple or "1"))
        elif name:
            found.append(("name", name, power.translate(SUPERSCRIPT) or "1"))
        elif number:
            found.append(("number", number))
        elif raised:
            found.append(("power", raised.translate(SUPERSCRIPT)))
        elif sign:
            found.append(("sign", sign))
        else:
            assert space
        at = match.end()
    return found


def _added(tokens: list[tuple[str, ...]], at: int, point: Point) -> tuple[Fraction, int]:
    total, sign = Fraction(0), 1
    if at < len(tokens) and tokens[at] == ("sign", "-"):
        sign, at = -1, at + 1
    while True:
        value, at = _multiplied(tokens, at, point)
        total += sign * value
        if at == len(tokens) or tokens[at][1] not in "+-" or tokens[at][0] != "sign":
            return total, at
        sign, at = (1 if tokens[at][1] == "+" else -1), at + 1


def _multiplied(tokens: list[tuple[str, ...]], at: int, point: Point) -> tuple[Fraction, int]:
    above, below, divided, begun = Fraction(1), Fraction(1), False, at
    while at < len(tokens):
        kind, text = tokens[at][:2]
        if (kind, text) == ("sign", "/"):
            divided, at = True, at + 1
            continue
        if kind == "sign" and text != "(":
            break
        value, at = _one(tokens, at, point)
        above, below = (above, below * value) if divided else (above * value, below)
    assert at > begun
    return above / below, at


def _one(tokens: list[tuple[str, ...]], at: int, point: Point) -> tuple[Fraction, int]:
    kind, text, *rest = tokens[at]
    if kind == "name":
        return Fraction(point[text]) ** int(rest[0]), at + 1
    if kind == "number":
        return Fraction(text), at + 1
    arguments, at = _parenthesis(tokens, at + (kind == "call"), point)
    if kind == "call":
        multiple = [] if text == "min" else [int(rest[0])]
        value = Fraction(FUNCTIONS[text](*arguments, *multiple))
    else:
        (value,) = arguments
    if at < len(tokens) and tokens[at][0] == "power":
        value, at = value ** int(tokens[at][1]), at + 1
    return value, at


def _parenthesis(tokens: list[tuple[str, ...]], at: int, point: Point) -> tuple[list[Fraction], int]:
    assert tokens[at] == ("sign", "(")
    values: list[Fraction] = []
    while tokens[at] != ("sign", ")"):
        value, at = _added(tokens, at + 1, point)
        values.append(value)
    return values, at + 1
