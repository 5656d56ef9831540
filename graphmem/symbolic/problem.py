"""`Problem`: what a derivation is asked for. It knows neither models, nor torch, nor what the account stands for."""

from __future__ import annotations

from dataclasses import dataclass

from graphmem.accounts.account import Account
from graphmem.points import Point
from graphmem.symbolic.tracer import TraceAt


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Formulas for what `account` counts in the traces of `tracer`, around the point `working`.

    model_symbols: the symbols that shape the model, and not only its inputs.
    """

    tracer: TraceAt
    account: Account
    working: Point
    model_symbols: frozenset[str]
