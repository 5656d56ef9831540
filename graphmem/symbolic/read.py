"""Expressions read from text, such as a saved report's: arithmetic and rounding, and nothing that runs code.

Whoever wrote the text, to read it ends soon: how large the expression would be when it is expanded is worked out from
the text alone, and what is larger than any formula of graphmem's is refused before sympy sees it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import sympy

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_FUNCTIONS = {"ceiling": sympy.ceiling, "floor": sympy.floor, "Min": sympy.Min, "Max": sympy.Max}
# Far beyond the formula of any model, and quick to expand.
_LONGEST, _MOST_TERMS, _MOST_INSIDE, _HIGHEST, _MOST_BITS = 200_000, 5000, 12, 64, 512
_MOST_COMPARISONS, _DEEPEST, _MOST_ARGUMENTS, _MOST_POWER = 1000, 5, 8, 16


class _Weight(NamedTuple):
    """How large an expression may be: monomials when it is expanded, their degree, the bits of a coefficient, and how
    deep functions are in each other."""

    terms: int = 1
    degree: int = 0
    bits: int = 1
    depth: int = 0

    def checked(self) -> _Weight:
        if self.terms > _MOST_TERMS or self.degree > _HIGHEST or self.bits > _MOST_BITS or self.depth > _DEEPEST:
            raise ValueError("sizes do not have expressions as large as this")
        return self


def read_expression(text: str, names: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    """The expression that sympy wrote as `text`. sympy's own reader evaluates it as Python, whoever wrote the file.

    Raises:
        ValueError: the text is not an expression, is not a number for sizes, or has a name that `names` lacks.
    """
    if len(text) > _LONGEST:
        raise ValueError("sizes do not have expressions as large as this")
    try:
        tree = ast.parse(text, mode="eval").body
        if sum(len(node.args) ** 2 for node in ast.walk(tree) if isinstance(node, ast.Call)) > _MOST_COMPARISONS:
            raise ValueError("sizes do not have expressions as large as this")
        _weight(tree)
        found = _read(tree, names)
    except (SyntaxError, RecursionError, MemoryError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{text[:60]!r} is not an expression") from error
    if found.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
        raise ValueError(f"{text[:60]!r} is not a number")
    return found


def _addends(node: ast.expr) -> Iterator[tuple[ast.expr, bool]]:
    """The parts of a sum, and whether each is subtracted. A sum of thousands is as deep a tree, so it is walked."""
    while isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield node.right, isinstance(node.op, ast.Sub)
        node = node.left
    yield node, False


def _weight(node: ast.expr) -> _Weight:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return _Weight(bits=max(1, node.value.bit_length())).checked()
    if isinstance(node, ast.UnaryOp):
        return _weight(node.operand)
    if isinstance(node, ast.Call):
        return _weight_of_call(node)
    if not isinstance(node, ast.BinOp):
        return _Weight(degree=1)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        parts = [_weight(part) for part, _ in _addends(node)]
        bits = max(p.bits for p in parts) + len(parts).bit_length()
        most = _Weight(sum(p.terms for p in parts), max(p.degree for p in parts), bits, max(p.depth for p in parts))
        return most.checked()
    left, power = _weight(node.left), _power(node.right) if isinstance(node.op, ast.Pow) else 0
    if power:
        return _Weight(left.terms**power, left.degree * power, left.bits * power, left.depth).checked()
    right = _weight(node.right)
    terms, degree, bits = left.terms * right.terms, left.degree + right.degree, left.bits + right.bits
    return _Weight(terms, degree, bits, max(left.depth, right.depth)).checked()


def _weight_of_call(node: ast.Call) -> _Weight:
    """A function stays as it is when an expression is expanded; but it compares its arguments."""
    parts = [_weight(argument) for argument in node.args]
    if not parts or len(parts) > _MOST_ARGUMENTS or any(p.terms > _MOST_INSIDE for p in parts):
        raise ValueError("sizes do not have functions as large as this")
    most = _Weight(1, max(p.degree for p in parts), max(p.bits for p in parts), 1 + max(p.depth for p in parts))
    return most.checked()


def _power(node: ast.expr) -> int:
    """How large an exponent is, without its sign: 9**9**9 would not end."""
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    if not (isinstance(inner, ast.Constant) and type(inner.value) is int and inner.value <= _MOST_POWER):
        raise ValueError("sizes do not have powers as large as this")
    return int(inner.value)


def _read(node: ast.expr, names: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return sympy.Integer(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_read(node.operand, names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        return sympy.Add(*(-_read(part, names) if minus else _read(part, names) for part, minus in _addends(node)))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _read(node.left, names), _read(node.right, names)
        below = (
            right
            if isinstance(node.op, ast.Div)
            else left
            if isinstance(node.op, ast.Pow) and right.is_negative
            else sympy.S.One
        )
        if sympy.expand(below).is_zero:
            raise ValueError("a size is not divided by zero")
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        return _FUNCTIONS[node.func.id](*(_read(argument, names) for argument in node.args))
    raise ValueError(f"{ast.unparse(node)[:60]!r} cannot be part of an expression")
