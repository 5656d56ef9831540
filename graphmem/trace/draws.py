"""`Draws`: random numbers that forward decides by, such as layer drop."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from graphmem._torch import schema_of
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
            return torch.full_like(_drawn(op, args, kwargs), self._constant)
        self.made.append(op)
        return _drawn(op, args, kwargs)

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


def _drawn(op: Op, args: Any, kwargs: Any) -> Any:
    taking = _taking_generator(op.target)
    if taking is not None:
        return _call(taking, args, kwargs, torch.Generator().manual_seed(op.index))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(op.index)  # torch.manual_seed seeds every GPU, too
        return op.target(*args, **kwargs)


@cache
def _taking_generator(target: Any) -> Any | None:
    """The operator itself where it takes a generator, else the overload that takes one beside the same arguments."""
    own = _arguments(target)
    if "generator" in own:
        return target
    overloads = (getattr(target.overloadpacket, name) for name in target.overloadpacket.overloads())
    return next((o for o in overloads if _arguments(o) == {**own, "generator": "Optional[Generator]"}), None)


def _arguments(target: Any) -> dict[str, str]:
    """Names and types."""
    return {argument.name: str(argument.type) for argument in schema_of(target).arguments}


def _call(target: Any, args: Any, kwargs: Any, generator: torch.Generator) -> Any:
    """The user's own generator, where one is passed, must not move either."""
    at = list(_arguments(target)).index("generator")
    if at < len(args):
        return target(*args[:at], generator, *args[at + 1 :], **kwargs)
    return target(*args, **{**kwargs, "generator": generator})


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)
