"""The formula to take away: as LaTeX, as plain ASCII, and as a Python function that needs no graphmem."""

from __future__ import annotations

import sympy
from sympy.printing.pycode import PythonCodePrinter

from graphmem.render.formula import formula
from graphmem.report import Report

_ASCII = str.maketrans({"·": "*", **{d: f"^{i}" for i, d in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}})


class _Exact(PythonCodePrinter):  # type: ignore[misc]
    """Fractions as fractions: 8/3 is no float."""

    def _print_Rational(self, number: sympy.Rational) -> str:  # noqa: N802
        return f"Fraction({number.p}, {number.q})"


def ascii_only(text: str) -> str:
    """A rendered report in plain ASCII: s^2 for s², * for ·, x for ×."""
    return text.translate(_ASCII).replace("×", "x").encode("ascii", "replace").decode("ascii")


def latex(report: Report) -> str:
    """The total as a LaTeX equation, layers factored out."""
    expr = report.saved.expr
    for name in report.depth:
        expr = sympy.collect(sympy.expand(expr), next((x for x in expr.free_symbols if x.name == name), name))
    text: str = sympy.latex(expr, order="grlex")
    return f"\\[ \\text{{saved for backward}} = {text} \\]\n"


def python(report: Report) -> str:
    """Source of `saved_bytes(s, b, ...)`, with the working point as defaults."""
    symbols = report.symbols
    arguments = ", ".join(f"{name}={value}" for name, value in symbols.items())
    body = _Exact({"fully_qualified_modules": True}).doprint(sympy.expand(report.saved.expr))
    shown = formula(report.saved.expr, symbols, report.depth)
    # Whole numbers stay exact: 4sbhk/a is divided as a fraction.
    lines = "\n    ".join(f"{name} = Fraction({name})" for name in symbols)
    proof = "proved" if report.verified.exact else "not proved"
    return f'''"""What autograd keeps of {report.name}, as on {report.target}: {shown} bytes ({proof})."""

import math
from fractions import Fraction


def saved_bytes({arguments}):
    """Bytes saved for backward."""
    {lines}
    return int({body})
'''
