"""From one dimension of one tensor, sampled at a base point and with each symbol moved alone, to an expression.

The ratio of two values gives a symbol's exponent; the constant is an exact fraction. What is not a monomial is tried as
a sum, and as a known expression that is rounded. Several candidates may agree with the samples: the caller decides
between them at a further point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

import sympy

from graphmem.points import Point
from graphmem.symbolic.compiled import compiled

_EXPONENTS = (1, 2, -1, -2, 3)
_NOTHING = Fraction(0)
_CONSTANTS = (1, -1, 2, -2)  # s + 1 patches, s - 1 shifted labels
# A larger denominator is no part that code takes: it comes from the values at which the samples were taken.
_MOST_PARTED = 64
_MOST_BESIDE = 8  # strides and patches that are followed by windows
_MULTIPLES = (32, 8, 16, 64, 128, 256, 4, 2, 512)  # what kernels, tables and blocks of tokens round to


@cache
def symbol(name: str) -> sympy.Symbol:
    """The sympy symbol of that name: a positive integer."""
    return sympy.Symbol(name, positive=True, integer=True)


@dataclass(frozen=True)
class Samples:
    """A quantity at the base point, and where one symbol alone was moved (`moved[x]` is the value that x had there)."""

    base: Point
    moved: Point
    at_base: int
    at_moved: Mapping[str, int]

    @cached_property
    def exponents(self) -> dict[str, int]:
        """The symbols to whose power the quantity is proportional, with that power."""
        return {name: e for name in self._moving if (e := exponent_of(self, name)) is not None}

    @cached_property
    def odd(self) -> list[str]:
        """The other symbols that move it."""
        return [name for name in self._moving if name not in self.exponents]

    @property
    def _moving(self) -> list[str]:
        return [name for name, value in self.at_moved.items() if value != self.at_base]

    def ratio_is(self, name: str, exponent: int, minus: Fraction) -> bool:
        """Whether the quantity less `minus` is proportional to the symbol to the power of `exponent`."""
        before, after = self.at_base - minus, self.at_moved[name] - minus
        x0, x1 = self.base[name], self.moved[name]
        if exponent < 0:
            return bool(after * x1**-exponent == before * x0**-exponent)
        return bool(after * x0**exponent == before * x1**exponent)


def candidates(seen: Samples, vocabulary: Sequence[sympy.Expr] = ()) -> list[sympy.Expr]:
    """Every expression of a known form that agrees with `seen`, simplest first; an empty list where no form does.

    vocabulary: other sizes in the model, of which this one may be a rounding: 4 a b ceil32(n² + 1).
    """
    exponents, odd = seen.exponents, seen.odd
    if not odd:
        product = monomial(seen.at_base, exponents, seen.base)
        if product.as_coeff_Mul()[0].is_Integer:
            return [product]
        # A fraction may be a rounding that happens to be proportional to its symbol: 32 for 24, 64 for 48.
        linear = (name for name, e in exponents.items() if e == 1)
        return [product, *(c for n in linear for c in rounded(seen, without(exponents, n), [n], [symbol(n)]))]
    found = _with_constant(seen, exponents, odd) + _sum(seen, exponents, odd) + patches(seen, exponents, odd)
    sizes = [symbol(odd[0])] if len(odd) == 1 else []
    sizes += [e for e in vocabulary if names_in(e) == set(odd)]
    found += rounded(seen, exponents, odd, sizes) + _shorter(seen, exponents, odd)
    return sorted(found, key=_has_fraction)  # a line goes through any two points, but few are meant to be 4/3 s


def names_in(expression: sympy.Expr) -> set[str]:
    """The names of the symbols in it."""
    return {x.name for x in expression.free_symbols}


def _has_fraction(expression: sympy.Expr) -> bool:
    return any(not term.as_coeff_Mul()[0].is_Integer for term in sympy.Add.make_args(expression))


def without(exponents: Mapping[str, int], name: str) -> dict[str, int]:
    """The exponents of all other symbols."""
    return {n: e for n, e in exponents.items() if n != name}


def exponent_of(seen: Samples, name: str, minus: Fraction = _NOTHING) -> int | None:
    """The power of the symbol to which the quantity, less `minus`, is proportional; None where it is to none."""
    return next((e for e in _EXPONENTS if seen.ratio_is(name, e, minus)), None)


def monomial(value: int | Fraction, exponents: Mapping[str, int], base: Point) -> sympy.Expr:
    """The product of powers that has `value` at the base."""
    coefficient = Fraction(value)
    for name, exponent in exponents.items():
        coefficient /= Fraction(base[name]) ** exponent
    product = sympy.Rational(coefficient.numerator, coefficient.denominator)
    for name, exponent in exponents.items():
        product *= symbol(name) ** exponent
    return product


def _with_constant(seen: Samples, exponents: Mapping[str, int], odd: list[str]) -> list[sympy.Expr]:
    """The regular symbols times (a monomial of the odd ones plus a small constant): b ((image / patch)² + 1)."""
    factor = monomial(_value(exponents, seen.base), exponents, seen.base)
    found = []
    for constant in _CONSTANTS:
        minus = constant * _value(exponents, seen.base)
        known = {name: e for name in odd if (e := exponent_of(seen, name, minus)) is not None}
        if len(known) == len(odd) and seen.at_base != minus:
            rest = monomial((seen.at_base - minus) / _value(exponents, seen.base), known, seen.base)
            found.append(sympy.expand(factor * (rest + constant)))
    return found


def _value(exponents: Mapping[str, int], base: Point) -> Fraction:
    value = Fraction(1)
    for name, exponent in exponents.items():
        value *= Fraction(base[name]) ** exponent
    return value


def _sum(seen: Samples, exponents: Mapping[str, int], odd: list[str]) -> list[sympy.Expr]:
    """A monomial of the regular symbols times a sum of the odd ones, b (s + p + 1), or of parts of them, rounded."""
    slopes = {name: Fraction(seen.at_moved[name] - seen.at_base, seen.moved[name] - seen.base[name]) for name in odd}
    rest = Fraction(seen.at_base) - sum(slopes[name] * seen.base[name] for name in odd)
    parts = [monomial(rest, exponents, seen.base)] if rest else []
    whole = [monomial(slopes[name], exponents, seen.base) * symbol(name) for name in odd]
    found = [sympy.Add(*parts, *whole)]
    # h/16 in a sum may be rounded where 16 does not divide h, which it did at both points.
    parted = {n: s.denominator for n, s in slopes.items() if s.denominator > 1}
    if (
        parted
        and max(parted.values()) <= _MOST_PARTED
        and all(seen.base[n] % q == 0 == seen.moved[n] % q for n, q in parted.items())
    ):
        for rounding in (sympy.ceiling, sympy.floor):
            sizes = {n: parted[n] * rounding(symbol(n) / parted[n]) if n in parted else symbol(n) for n in odd}
            found.append(sympy.Add(*parts, *(monomial(slopes[n], exponents, seen.base) * sizes[n] for n in odd)))
    return found


def rounded(
    seen: Samples,
    exponents: Mapping[str, int],
    odd: Sequence[str],
    sizes: Iterable[sympy.Expr],
    multiples: Sequence[int] = _MULTIPLES,
) -> list[sympy.Expr]:
    """A monomial of the regular symbols times one of `sizes`, of the odd ones, rounded: 4 a b ceil32(s)."""
    found = []
    for size in dict.fromkeys(sizes):
        base, moved = evaluate(size, seen.base), {n: evaluate(size, {**seen.base, n: seen.moved[n]}) for n in odd}
        for up in (True, False):
            for multiple in multiples:
                before = _to_multiple(base, multiple, up=up)
                after = {n: _to_multiple(value, multiple, up=up) for n, value in moved.items()}
                if before and all(seen.at_moved[n] * before == seen.at_base * (after[n] or 0) for n in odd):
                    factor = monomial(Fraction(seen.at_base * multiple, before), exponents, seen.base)
                    # Nothing makes a third of a rounded size whole: such a third is one before it is rounded.
                    if factor.is_Integer or not factor.is_Rational:
                        found.append(factor * in_blocks(size, multiple, up=up))
    return found


@cache
def in_blocks(size: sympy.Expr, multiple: int, *, up: bool) -> sympy.Expr:
    """How many multiples a size fills. sympy takes a millisecond for one, and thousands are tried.

    What is rounded the same way already is rounded once: floor(floor(16h/3)/2) is floor(8h/3), and so is 8 ceil(n/8)
    that is rounded to 32.
    """
    of, inner = size.as_coeff_Mul()
    if isinstance(inner, sympy.ceiling if up else sympy.floor) and of.is_Integer and multiple % of == 0:
        size = sympy.expand(of * inner.args[0])
    return sympy.ceiling(size / multiple) if up else sympy.floor(size / multiple)


def _shorter(seen: Samples, exponents: Mapping[str, int], odd: list[str]) -> list[sympy.Expr]:
    """A monomial of the regular symbols times the smaller of the two odd ones: b h min(s, window)."""
    if len(odd) != 2:
        return []
    x, y = odd
    base = min(seen.base[x], seen.base[y])
    moved = {x: min(seen.moved[x], seen.base[y]), y: min(seen.base[x], seen.moved[y])}
    if any(seen.at_moved[n] * base != seen.at_base * moved[n] for n in odd):
        return []
    return [monomial(Fraction(seen.at_base, base), exponents, seen.base) * sympy.Min(symbol(x), symbol(y))]


def patches(seen: Samples, exponents: Mapping[str, int], odd: list[str]) -> list[sympy.Expr]:
    """A monomial of the regular symbols times the patches of an image, or of one of its sides, and a token more:
    b (floor(r/p)² + 1)."""
    found = []
    for power, constant in itertools.product((1, 2), (0, 1)):
        sizes = [*odd, *(name for name, e in exponents.items() if e == -power)]
        rest = {name: e for name, e in exponents.items() if name not in sizes}
        factor = _value(rest, seen.base)
        roots = {name: _root(seen.at_moved[name] / factor - constant, power) for name in sizes}
        here = _root(seen.at_base / factor - constant, power)
        if here is None or None in roots.values():
            continue
        for side in _quotients(seen, sizes, here, roots):
            found.append(sympy.expand(monomial(factor, rest, seen.base) * (side**power + constant)))
    return found


def _quotients(seen: Samples, sizes: list[str], here: int, roots: Mapping[str, int | None]) -> list[sympy.Expr]:
    """x // y, or x // q of a number that divides x at the base, that give `here` there and `roots` where moved."""
    pairs: list[tuple[str, str | int]] = list(itertools.permutations(sizes, 2)) if len(sizes) == 2 else []
    if len(sizes) == 1 and seen.base[sizes[0]] % here == 0:
        pairs = [(sizes[0], seen.base[sizes[0]] // here)]
    found = []
    for x, y in pairs:
        points = [(seen.base, here), *(({**seen.base, n: seen.moved[n]}, root) for n, root in roots.items())]
        quotient = symbol(x) / (symbol(y) if isinstance(y, str) else y)
        sides = (sympy.floor(quotient), sympy.ceiling(quotient))
        found += [side for side in sides if all(evaluate(side, point) == value for point, value in points)]
    return found


def _root(value: Fraction, power: int) -> int | None:
    """The positive integer whose `power` is `value`; None where there is none."""
    if value.denominator != 1 or value < 1:
        return None
    root = math.isqrt(int(value)) if power == 2 else int(value)
    return root if root**power == value else None


def _to_multiple(value: int | None, multiple: int, *, up: bool) -> int | None:
    if value is None:
        return None
    return (-(-value // multiple) if up else value // multiple) * multiple


def evaluate(expression: sympy.Expr, point: Point) -> int | None:
    """The expression's value at `point`; None where that is not a whole number, or where a symbol is missing."""
    try:
        value = compiled(expression)(point)
    except KeyError:
        return None
    return int(value) if value.denominator == 1 else None


def unrounded(arg: sympy.Expr) -> tuple[sympy.Expr, range]:
    """ceil(s/2)/w as s/(2w), and what may be added to s where the two are whole alike: 0 or 1."""
    for rounded in sorted(arg.atoms(sympy.ceiling, sympy.floor), key=str):
        _, of, by = quotient_of(rounded.args[0]) or ("", _MOST_BESIDE + 1, ())
        if not by and of <= _MOST_BESIDE:
            up = isinstance(rounded, sympy.ceiling)
            return arg.xreplace({rounded: rounded.args[0]}), range(of) if up else range(0, -of, -1)
    return arg, range(1)


def quotient_of(arg: sympy.Expr) -> tuple[str, int, tuple[str, ...]] | None:
    """s/8 as s, 8 and no symbol, s/(2*w) as s, 2 and w; None for anything else."""
    part, rest = arg.as_coeff_Mul()
    powers = {str(x): power for x, power in rest.as_powers_dict().items() if x.is_Symbol}
    above = [name for name, power in powers.items() if power == 1]
    by = tuple(sorted(name for name, power in powers.items() if power == -1))
    if len(above) != 1 or len(above) + len(by) != len(rest.as_powers_dict()):
        return None
    return above[0], int(part.q), by
