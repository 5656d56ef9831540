"""`Draws`: random numbers that forward decides by, such as layer drop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from graphmem.record import Op

# The largest float32 below 1: torch.rand draws from 0 up to there.
_ALMOST_ONE = 1 - 2**-24
_UNIFORM = (torch.ops.aten.rand.default, torch.ops.aten.rand_like.default)


class Draws:
    """The draws behind one question.

    made: the operators that drew.
    """

    def __init__(self) -> None:
        self.made: list[Op] = []
        self._constant: float | None = None

    def draw(self, op: Op, args: Any, kwargs: Any) -> Any:
        """What an operator draws: from a generator of our own, so that it is always the same."""
        if self._constant is not None:
            return torch.full_like(op.target(*args, **kwargs), self._constant)
        self.made.append(op)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(op.index)
            return op.target(*args, **kwargs)

    def deciding(self, result: Any, again: Callable[[], Any]) -> Op | None:
        """The first operator whose draw may have decided `result`; None where no draw did. `again` works it out anew.

        The lowest and the highest draw are tried, too: `rand() < 0` is false whatever is drawn.
        """
        if not self.made:
            return None
        uniform = all(op.target in _UNIFORM for op in self.made)
        same = uniform and all(_same(self._with(draw, again), result) for draw in (0.0, _ALMOST_ONE))
        return None if same else self.made[0]

    def _with(self, constant: float, again: Callable[[], Any]) -> Any:
        """The result if every draw is `constant`."""
        self._constant = constant
        try:
            return again()
        finally:
            self._constant = None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)
