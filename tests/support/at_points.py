"""A report at other points, beside real autograd there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

import graphmem
from graphmem.errors import SymbolError
from support.oracle import real_bytes


def right_or_refused(model: Callable[..., nn.Module], inputs: Callable[..., Any], points: list[dict[str, int]]) -> int:
    """How many of the points a report takes; each has what autograd keeps."""
    report = graphmem.analyze(model, inputs, device="cpu")
    assert report.verified.exact
    taken = 0
    for point in points:
        try:
            said = report.at(**point).saved.bytes
        except SymbolError:
            continue
        assert said == real_bytes(model(**_those(model, point)), inputs(**_those(inputs, point))), point
        taken += 1
    return taken


def _those(function: Callable[..., Any], point: Mapping[str, int]) -> dict[str, int]:
    return {n: v for n, v in point.items() if n in function.__code__.co_varnames[: function.__code__.co_argcount]}
