"""Expressions as functions of a point, in Python's own numbers: formulas are evaluated a million times.

`subs` of sympy takes a millisecond, a walk through the expression a tenth of one, a compiled function a microsecond or
two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import sympy

from graphmem.points import Point

_FUNCTIONS: dict[type[sympy.Expr], str] = {
    sympy.ceiling: "ceil", sympy.floor: "floor", sympy.Min: "min", sympy.Max: "max",
}  # fmt: skip


# An analysis has some hundred; a process that makes thousands of analyses must not grow with them.
@lru_cache(maxsize=2**13)
def compiled(expression: sympy.Expr) -> Callable[[Point], int | Fraction]:
    """The expression's value at a point. It raises KeyError where a symbol is missing."""
    made: Callable[[Point], int | Fraction] = eval(f"lambda p: {_source(expression)}", dict(_NAMES))
    return made


def _source(expression: sympy.Expr) -> str:
    if expression.is_Symbol:
        return f"p[{expression.name!r}]"
    if expression.is_Integer:
        return f"({int(expression.p)})"
    if expression.is_Add:
        return f"({' + '.join(map(_source, expression.args))})"
    if expression.is_Mul or expression.is_Pow or expression.is_Rational:
        return _quotient(expression)
    return f"{_FUNCTIONS[expression.func]}({', '.join(map(_source, expression.args))})"


def _quotient(expression: sympy.Expr) -> str:
    """A product: what is above the line and what is below it are whole numbers nearly always."""
    above, below = [], []
    for factor in sympy.Mul.make_args(expression):
        base, exponent = factor.as_base_exp()
        if factor.is_Rational:
            above.append(str(int(factor.p)))
            below += [str(int(factor.q))] if factor.q != 1 else []
            continue
        assert exponent.is_Integer, f"no size has a root: {expression}"
        power = f"{_source(base)}**{abs(int(exponent))}" if abs(exponent) != 1 else _source(base)
        (above if exponent > 0 else below).append(power)
    over = "*".join(above) or "1"
    return f"divided({over}, {'*'.join(below)})" if below else f"({over})"


def _divided(above: int | Fraction, below: int | Fraction) -> int | Fraction:
    if isinstance(above, int) and isinstance(below, int):
        whole, rest = divmod(above, below)
        return Fraction(above, below) if rest else whole
    return Fraction(above) / Fraction(below)


_NAMES = {"ceil": math.ceil, "floor": math.floor, "min": min, "max": max, "divided": _divided, "__builtins__": {}}
