"""Expressions read from text, such as a saved report's: arithmetic and rounding, and nothing that runs code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import sympy

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_FUNCTIONS = {"ceiling": sympy.ceiling, "floor": sympy.floor, "Min": sympy.Min, "Max": sympy.Max}


def read_expression(text: str, names: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    """The expression that sympy wrote as `text`. sympy's own reader evaluates it as Python, whoever wrote the file.

    Raises:
        ValueError: the text is not an expression, or has a name that `names` lacks.
    """
    try:
        return _read(ast.parse(text, mode="eval").body, names)
    except (SyntaxError, RecursionError) as error:
        raise ValueError(f"{text[:60]!r} is not an expression") from error


def _read(node: ast.expr, names: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return sympy.Integer(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_read(node.operand, names)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _read(node.left, names), _read(node.right, names)
        if isinstance(node.op, ast.Pow) and not (right.is_Integer and abs(int(right)) <= 16):  # 9**9**9 would not end
            raise ValueError("sizes do not have powers as large as this")
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        return _FUNCTIONS[node.func.id](*(_read(argument, names) for argument in node.args))
    raise ValueError(f"{ast.unparse(node)[:60]!r} cannot be part of an expression")
