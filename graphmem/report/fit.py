"""`graphmem fit`: the largest value of a symbol at which parameters and what forward leaves alive fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphmem.errors import SymbolError
from graphmem.report.solve import solve

if TYPE_CHECKING:
    from graphmem.report.tables import Report


@dataclass(frozen=True)
class Fit:
    """The answer, in bytes. value: the largest that fits, None where nothing does, and why. at: the report there.

    parameters: the weights themselves. reserve: what the user keeps free for gradients, optimizer state, temporaries.
    """

    symbol: str
    value: int | None
    why: str
    memory: int
    parameters: int
    reserve: int
    at: Report

    @property
    def used(self) -> int:
        return self.parameters + self.reserve + self.at.alive.bytes


def fit(report: Report, symbol: str, memory: int, reserve: int) -> Fit:
    """Solve for `symbol`.

    Raises:
        SymbolError: it is not in the formula, or the formula does not hold at the answer.
    """
    parameters = next((n.bytes or 0 for n in report.not_counted if n.what == "parameters"), 0)
    room = memory - parameters - reserve
    try:
        value = solve(report, symbol, max(room, 0), {}, alive=True)
    except SymbolError as error:
        if not error.what.startswith("nothing fits"):
            raise
        return Fit(symbol, None, error.what, memory, parameters, reserve, report)
    return Fit(symbol, value, "", memory, parameters, reserve, report.at(**{symbol: value}))
