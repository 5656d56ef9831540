"""xformers.ops.swiglu_op: since 0.0.34 nothing is fused any more, plain PyTorch runs."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from xformers.ops.unbind import unbind


def swiglu(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    w3: Tensor,
    b3: Tensor | None,
    *,
    op: Any = None,
) -> Tensor:
    """linear3(silu(linear1(x)) * linear2(x))."""
    rows = x.reshape(-1, x.shape[-1])
    hidden = F.silu(F.linear(rows, w1, b1)) * F.linear(rows, w2, b2)
    return F.linear(hidden, w3, b3).reshape(*x.shape[:-1], -1)


class SwiGLU(nn.Module):
    """The three layers of `swiglu`, the first two in one parameter unless `_pack_weights` is off."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = True,
        *,
        _pack_weights: bool = True,
    ) -> None:
        super().__init__()
        out_features = out_features or in_features
        hidden_features = hidden_features or in_features
        self.w12 = nn.Linear(in_features, 2 * hidden_features, bias=bias) if _pack_weights else None
        if not _pack_weights:
            self.w1 = nn.Linear(in_features, hidden_features, bias=bias)
            self.w2 = nn.Linear(in_features, hidden_features, bias=bias)
        self.w3 = nn.Linear(hidden_features, out_features, bias=bias)
        self.hidden_features = hidden_features
        self.out_features = out_features
        self.in_features = in_features
        self.op = None

    def forward(self, x: Tensor) -> Tensor:
        if self.w12 is None:
            w1, w2, b1, b2 = self.w1.weight, self.w2.weight, self.w1.bias, self.w2.bias
        else:
            w1, w2 = unbind(self.w12.weight.unflatten(0, (2, -1)), dim=0)
            bias = self.w12.bias
            b1, b2 = (None, None) if bias is None else unbind(bias.unflatten(0, (2, -1)), dim=0)
        return swiglu(x, w1, b1, w2, b2, self.w3.weight, self.w3.bias)
