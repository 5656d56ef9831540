"""`graphmem fit`: the largest value of a symbol at which parameters and what forward leaves alive fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmem.analysis.solve import solve
from graphmem.errors import GraphmemError, NothingFitsError, SymbolError
from graphmem.report.fit import Fit
from graphmem.usercode.isolate import isolated

if TYPE_CHECKING:
    from graphmem.analysis.report import Report

# How many values below the largest that fits are tried, if the model does not accept that one.
_NEAR = 64


def fit(report: Report, symbol: str, memory: int, reserve: int) -> Fit:
    """Solve for `symbol`.

    Raises:
        SymbolError: it is not in the formula, or the formula does not hold at the answer.
    """
    weights, point = report.analysis.parameters, report.analysis.working

    def parameters(value: int) -> int:
        return weights({**point, symbol: value})

    try:
        largest = solve(report, symbol, max(memory - reserve, 0), {}, alive=True, besides=parameters)
    except NothingFitsError as error:
        least = point[symbol] if error.least is None else error.least
        return Fit(symbol, None, error.what, memory, parameters(least), reserve, report)
    near = (v for v in range(largest, max(0, largest - _NEAR), -1) if _runs(report, symbol, v))
    value = next(near, None)
    if value is None:
        raise SymbolError(
            f"by the formula {symbol} = {largest:,} fits, but the model does not run at that value or just below it",
            hint=f"analyse again with {symbol}={largest}",
        )
    return Fit(symbol, value, "", memory, parameters(value), reserve, report.at(**{symbol: value}))


def _runs(report: Report, symbol: str, value: int) -> bool:
    """Whether the model accepts one of its own sizes. It may refuse what the formula allows: heads have to divide h."""
    derived = report.analysis.derived
    if symbol not in derived.model_symbols or symbol in derived.depth or derived.follows:
        return True
    try:
        report.at(**{symbol: value})
        with isolated():
            report.analysis.tracer({**derived.base, symbol: value})
    except GraphmemError:
        return False
    return True
