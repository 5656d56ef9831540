"""The formula to take away: as LaTeX, as plain ASCII, and as a Python function that needs no graphmem."""

from __future__ import annotations

import keyword
import re
from fractions import Fraction

import sympy
from sympy.printing.pycode import PythonCodePrinter

from graphmem.errors import UsageError
from graphmem.escapes import one_line
from graphmem.points import Point, as_text, off_by
from graphmem.render.proof import proof, summed
from graphmem.report import Limit, ReportData

_ASCII = str.maketrans({"·": "*", **{d: f"^{i}" for i, d in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}})


class _Exact(PythonCodePrinter):  # type: ignore[misc]
    """Fractions as fractions: 8/3 is not a float."""

    def _print_Rational(self, number: sympy.Rational) -> str:  # noqa: N802
        return f"Fraction({number.p}, {number.q})"


def ascii_only(text: str) -> str:
    """A rendered report in plain ASCII: s^2 for s², * for ·, x for ×."""
    return text.translate(_ASCII).replace("×", "x").encode("ascii", "replace").decode("ascii")


def latex(report: ReportData) -> str:
    """The total as a LaTeX equation, layers factored out."""
    expr = report.saved.expr
    for name in report.depth:
        expr = sympy.collect(sympy.expand(expr), next((x for x in expr.free_symbols if x.name == name), name))
    text: str = sympy.latex(expr, order="grlex")
    notes = "".join(f"% {one_line(note)}\n" for note in [proof(report), *_about_the_formula(report)])
    return f"\\[ \\text{{saved for backward}} = {text} \\]\n{notes}"


def python(report: ReportData) -> str:
    """Source of `saved_bytes(s, b, ...)`, with the working point as defaults."""
    symbols = report.symbols
    _refuse_names(symbols)
    arguments = as_text(symbols, ", ")
    body = _Exact({"fully_qualified_modules": True}).doprint(sympy.expand(report.saved.expr))
    shown = summed(report.saved, report)
    # Whole numbers stay exact: 4sbhk/a is divided as a fraction.
    lines = "\n    ".join(f"{name} = Fraction({name})" for name in symbols)
    notes = [*_about_the_formula(report), *_kernels(report)]
    checks = "".join(
        f"    if {_outside(limit, symbols)}:\n        raise ValueError({_said(limit, symbols)!r})\n"
        for limit in report.limits
        if _names(limit) <= symbols.keys()
    )
    proved = report.verified.exact and report.verified.point is not None
    checks += "" if proved or not symbols else _only_here(symbols)
    title = f"What autograd keeps of {report.name}, as on {report.machine}: {shown} bytes ({proof(report)})."
    return f'''"""{_in_docstring([title, *notes])}"""

import math
from fractions import Fraction


def saved_bytes({arguments}):
    """Bytes saved for backward."""
{checks}    {lines}
    return int({body})
'''


def _in_docstring(lines: list[str]) -> str:
    """The lines as the text of a docstring, whatever is in a name: it cannot end it, and is no escape."""
    return "\n".join(one_line(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)


def _refuse_names(symbols: Point) -> None:
    """Names that the function uses itself; a model's own function may have any that Python takes."""
    for name in symbols:
        if name in ("math", "Fraction", "int", "ValueError") or keyword.iskeyword(name) or not name.isidentifier():
            raise UsageError(
                f"the symbol {name!r} cannot be an argument of the Python function", hint="--format latex, or json"
            )


def _about_the_formula(report: ReportData) -> list[str]:
    return [note.text for note in report.remarks if note.belongs_to_formula]


def _names(limit: Limit) -> set[str]:
    """What the check of a limit has to know."""
    return _symbols_in(limit.equals) if limit.equals else {limit.symbol}


def _symbols_in(expression: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", expression))


def _kernels(report: ReportData) -> list[str]:
    """The kernels that the formula is for: at other sizes another one may run, and only graphmem can tell."""
    named = ", ".join(dict.fromkeys(row.kernel for row in report.attention if row.kernel.startswith("sdpa.")))
    return [f"the formula is for sizes at which attention runs {named}"] if named else []


def _only_here(symbols: Point) -> str:
    """What is not proved is known where it was traced, and nowhere else."""
    elsewhere = " or ".join(f"{name} != {value}" for name, value in symbols.items())
    said = f"the formula is not proved, so it is for {as_text(symbols, ', ')} only"
    return f"    if {elsewhere}:\n        raise ValueError({said!r})\n"


def _outside(limit: Limit, symbols: Point) -> str:
    if limit.equals is not None:  # one that is no argument follows by itself, to whole numbers
        return f"{limit.symbol} != {limit.equals}" if limit.symbol in symbols else f"({limit.equals}) % 1"
    if limit.multiple_of is not None:
        return f"{limit.symbol} % {_step(limit.multiple_of, limit.by)}"
    if limit.not_multiple_of is not None:
        value = f"({off_by(limit.symbol, limit.beside)})" if limit.beside else limit.symbol
        return f"not {value} % {_step(limit.not_multiple_of, limit.by)}"
    if limit.not_equals is not None:
        return f"{limit.symbol} == {limit.not_equals}"
    return f"{limit.symbol} {'<' if limit.least is not None else '>'} {_edge(limit, symbols)}"


def _step(of: int, by: str | None) -> str:
    if not by:
        return str(of)
    return f"({by})" if of == 1 else f"({of}*{by})"


def _said(limit: Limit, symbols: Point) -> str:
    if limit.equals is not None:
        return f"the formula holds for {limit.symbol} = {limit.equals} only"
    if limit.multiple_of is not None:
        return f"the formula holds for {limit.symbol} a multiple of {_step(limit.multiple_of, limit.by)} only"
    if limit.not_multiple_of is not None:
        value = off_by(limit.symbol, limit.beside)
        return f"the formula holds for {value} not a multiple of {_step(limit.not_multiple_of, limit.by)} only"
    if limit.not_equals is not None:
        return f"the formula holds for {limit.symbol} other than {limit.not_equals} only"
    side = ">=" if limit.least is not None else "<="
    return f"the formula holds for {limit.symbol} {side} {_edge(limit, symbols)} only"


def _edge(limit: Limit, symbols: Point) -> str:
    """The last value inside: in the symbols that it moves with, where they are arguments of the function."""
    if limit.by is None or not _symbols_in(limit.by) <= symbols.keys():
        return str(limit.most if limit.least is None else limit.least)
    return off_by(limit.by, limit.beside, Fraction(limit.times))
