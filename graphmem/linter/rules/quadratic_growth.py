"""At the length that was asked for, most of what is kept grows with its square.

**Why is this bad?**
Twice the length is four times the memory. Only reported for lengths that were asked for: `--at s=32768`.

**Use instead**
A fused attention kernel (GM101, GM102), a mask that is a flag (GM104), or a window. The finding names the modules
that the s² terms come from.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, attending
from graphmem.linter.spot import Spot, Term
from graphmem.symbolic.curves import evaluate, symbol

CODE, NAME, SEVERITY, DEFAULT = "GM401", "quadratic-growth", "warning", True

_LENGTH = "s"
_MOST = 0.5


def check(context: Context) -> Iterator[Spot]:
    """The s² terms, where they are the larger part at a length that was asked for."""
    if _LENGTH not in context.asked:
        return
    expr = sympy.expand(context.report.saved.expr)
    square = sympy.Add(*(term for term in sympy.Add.make_args(expr) if _degree(term) >= 2))
    nbytes = evaluate(square, context.point)
    if nbytes is None or nbytes < _MOST * context.report.saved.bytes:
        return
    nodes = [n for n in context.report.nodes if _degree(n.each_expr) >= 2]
    where = list(dict.fromkeys(context.label(n.module) for n in nodes))
    more = f" and {len(where) - 3} more" if len(where) > 3 else ""
    yield Spot(
        op=-1,
        storages=(),
        message=f"most of what is kept grows with s², from {', '.join(where[:3])}{more}",
        fix="a fused attention kernel, is_causal in place of a mask, or a window",
        stake=(Term(-1, square),),
    )


def _degree(expr: sympy.Expr) -> int:
    s = symbol(_LENGTH)
    terms = sympy.Add.make_args(sympy.expand(expr))
    return max((int(sympy.degree(t, s)) for t in terms if t.is_polynomial(s)), default=0)


# -- examples ----------------------------------------------------------------------------------------------------------

_WRITTEN = attending(lambda q, k, v: (q @ k.mT).softmax(-1) @ v)
BAD: Examples = {"written out": Example(_WRITTEN.module, lint={"points": [{"s": 4096}]})}
FIXED: Examples = {}
GOOD: Examples = {"short": Example(_WRITTEN.module, lint={"points": [{"s": 16}]}), "not asked": _WRITTEN}
