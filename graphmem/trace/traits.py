"""What an operator does, as far as the value of its result depends on it."""

from __future__ import annotations

import torch

from graphmem.record import Op

# Their result has the shape of their argument. They do not read what it holds.
_LIKE = tuple(
    getattr(torch.ops.aten, name)
    for name in ("full_like", "zeros_like", "ones_like", "new_full", "new_zeros", "new_ones")
)


def is_drawn(op: Op) -> bool:
    """Whether a random number is drawn."""
    return op.kind == "call" and torch.Tag.nondeterministic_seeded in op.target.tags


def is_like(op: Op) -> bool:
    """Whether only the layout of its first argument is read."""
    return op.kind == "call" and op.target.overloadpacket in _LIKE


def storages_of(op: Op) -> set[int]:
    """The indices of the storages that its results lie in."""
    return {fact.storage for fact in op.outputs if fact is not None}


def elements(op: Op) -> int:
    """How many elements its results have together."""
    return sum(torch.Size(fact.shape).numel() for fact in op.outputs if fact is not None)
