"""`Report`: the tables of an analysis, and what can still be asked of the model behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from graphmem.errors import UsageError
from graphmem.points import as_text
from graphmem.render import table
from graphmem.render.proof import summed
from graphmem.report import ReportData
from graphmem.report.plain import as_dict
from graphmem.units import human

if TYPE_CHECKING:
    import torch

    from graphmem.analysis.analysis import Analysis


class Live(Protocol):
    """The model behind a report, in this process. Everything else in a report is data."""

    @property
    def analysis(self) -> Analysis: ...
    @property
    def graph(self) -> torch.fx.Graph: ...
    def at(self, symbols: Mapping[str, int]) -> Report: ...
    def solve(self, report: Report, symbol: str, budget: float | str, others: Mapping[str, int]) -> int: ...


@dataclass(frozen=True, kw_only=True, repr=False)
class Report(ReportData):
    """The result of `graphmem.analyze`. `str()` is the table; it compares and pickles as the data that it is.

    A report that was pickled has no model behind it any more: `at`, `solve`, `graph` and `analysis` say so.
    """

    _live: Live | None = field(default=None, compare=False)

    def at(self, **symbols: int) -> Report:
        """The same report at other values of the symbols, from the formulas: nothing is traced.

        There is one exception. A dimension of size 1 needs no copies: where a size is 1 and the formula is for larger
        ones, or the reverse, the model is analysed again on that side, once.

        Raises:
            SymbolError: an unknown symbol, a size whose formula was not proved, or a point at which it does not hold.
            GraphmemError: the model cannot be analysed with a size of 1.
        """
        return self._model.at(symbols)

    def solve(self, symbol: str, *, budget: float | str, **others: int) -> int:
        """The largest value of `symbol` at which what is saved stays within `budget` (bytes, or "80GiB"), with `others`
        in place of the working point's values: `report.solve("s", budget="40GiB", b=1)`. Nothing is traced, except for
        a size of 1, as in `at`.

        Raises:
            SymbolError: nothing fits, the symbol is not in the formula, or the formula does not hold at the answer.
        """
        return self._model.solve(self, symbol, budget, others)

    @property
    def analysis(self) -> Analysis:
        """What all points share: the derivation with its trace, operator by operator. For rules, not for people."""
        return self._model.analysis

    @property
    def graph(self) -> torch.fx.Graph:
        """The forward at the working point as a `torch.fx.Graph` of ATen operators.

        Each node's `meta` has `val`, `nn_module_stack` and `stack_trace` as torch writes them, `storage` (an index,
        the same for views of one storage) and `kept_by` (names of the autograd nodes that hold that storage). All
        layers are in it, so the first use traces the model at its full depth.
        """
        return self._model.graph

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, strings and numbers; see docs/json.md."""
        return as_dict(self)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @property
    def _model(self) -> Live:
        if self._live is None:
            raise UsageError("this report is only data: its model is not there any more", hint="analyse it again")
        return self._live

    def __str__(self) -> str:
        return table.render(self)

    def __repr__(self) -> str:
        saved = summed(self.saved, self)
        kept = f"{human(self.saved.bytes)} saved for backward = {saved}"
        at = f" at {as_text(self.symbols)}" if self.symbols else ""
        return f"<Report of {self.name}{at}: {kept}>"

    def __hash__(self) -> int:
        return hash((self.name, self.machine, tuple(self.symbols.items()), self.saved.bytes, self.alive.bytes))

    def __copy__(self) -> Report:
        return self  # nothing in it changes; and what is pickled below has no model

    def __deepcopy__(self, _memo: dict[int, Any]) -> Report:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_live": None}
