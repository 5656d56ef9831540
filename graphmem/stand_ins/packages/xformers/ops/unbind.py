"""xformers.ops.unbind: torch.unbind, whose backward needs no copy."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from graphmem.stand_ins.operators import Saving


class _Unbind(Saving):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, ...]:
        return x.unbind(dim)


def unbind(x: Tensor, dim: int) -> Any:
    """Views of x along `dim`."""
    return _Unbind.apply(x, dim)
