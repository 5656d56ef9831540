"""The result of an operator whose arguments have no values, where something can be taken for granted about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from graphmem.how.assumptions import WORST, Assumptions
from graphmem.record import Op, TensorFact

_aten = torch.ops.aten


def assumed(op: Op, facts: list[TensorFact | None], assumptions: Assumptions) -> tuple[Any, str] | None:
    """The result of an operator whose arguments, described by `facts`, are unknown, and what that takes for granted.

    None where nothing is taken for granted about it.
    """
    make = _ASSUMED.get(op.target.overloadpacket) if op.kind == "call" else None
    return make(op, facts, assumptions) if make else None


def _chosen(op: Op, facts: list[TensorFact | None], assumptions: Assumptions) -> tuple[Any, str] | None:
    """Indices along a dimension of floating-point scores: topk, argmax, sort, multinomial."""
    scores = facts[0] if facts else None
    position = next((i for i, out in enumerate(op.outputs) if out is not None and out.dtype == torch.int64), None)
    if scores is None or position is None or not scores.dtype.is_floating_point or not scores.shape:
        return None
    out = op.outputs[position]
    assert out is not None
    n = scores.shape[-1]
    count = torch.Size(out.shape).numel()
    chosen = out.shape[-1] if out.shape and len(out.shape) == len(scores.shape) else 1
    flat = torch.arange(count)
    indices = (flat % chosen if assumptions.experts == WORST else flat) % n
    result = [
        indices.reshape(out.shape) if i == position else torch.zeros(o.shape, dtype=o.dtype)
        for i, o in enumerate(op.outputs)
        if o is not None
    ]
    how = (
        "all tokens choose the same experts" if assumptions.experts == WORST else "every expert is chosen equally often"
    )
    return (tuple(result) if len(result) > 1 else result[0]), how


def _finite(value: bool) -> Callable[[Op, list[TensorFact | None], Assumptions], tuple[Any, str] | None]:
    def answer(op: Op, _facts: list[TensorFact | None], _assumptions: Assumptions) -> tuple[Any, str] | None:
        out = op.outputs[0]
        return None if out is None else (torch.full(out.shape, value), "nothing is NaN or infinite")

    return answer


def _same_compared(value: bool) -> Callable[[Op, list[TensorFact | None], Assumptions], tuple[Any, str] | None]:
    """x != x and x == x ask for NaN; x == inf and x != inf, for infinity."""

    def answer(op: Op, facts: list[TensorFact | None], assumptions: Assumptions) -> tuple[Any, str] | None:
        left, right = op.args[:2]
        infinite = isinstance(right, float) and abs(right) == float("inf")
        if left != right and not infinite:
            return None
        return _finite(value != infinite)(op, facts, assumptions)

    return answer


_ASSUMED: dict[Any, Callable[[Op, list[TensorFact | None], Assumptions], tuple[Any, str] | None]] = {
    _aten.topk: _chosen,
    _aten.argmax: _chosen,
    _aten.max: _chosen,
    _aten.sort: _chosen,
    _aten.argsort: _chosen,
    _aten.multinomial: _chosen,
    _aten.isnan: _finite(False),
    _aten.isinf: _finite(False),
    _aten.isfinite: _finite(True),
    _aten.ne: _same_compared(False),
    _aten.eq: _same_compared(True),
}
