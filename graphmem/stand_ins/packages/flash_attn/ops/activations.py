"""flash_attn.ops.activations: each saves its inputs and nothing that it computed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.stand_ins.operators import Saving, kernel


@kernel("graphmem::swiglu")
def swiglu_fwd(x: Tensor, y: Tensor) -> Tensor:
    """silu(x) * y in one kernel."""
    return torch.empty_like(x)


def gelu_fwd(x: Tensor) -> Tensor:
    """GELU by its tanh approximation."""
    return F.gelu(x, approximate="tanh")


def bias_gelu(y: Tensor, bias: Tensor) -> Tensor:
    """gelu(y + bias)."""
    return gelu_fwd(y + bias).to(y.dtype)


def sqrelu_fwd(x: Tensor) -> Tensor:
    """relu(x) squared."""
    return F.relu(x).square().to(x.dtype)


class GeLUFunction(Saving):
    """Saves the input and the bias."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(input, bias)
        return bias_gelu(input, bias)


class FastGeLUFunction(Saving):
    """Saves the input."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        return gelu_fwd(input)


class SwiGLUFunction(Saving):
    """Saves both inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return swiglu_fwd(x, y)


bias_gelu_impl = GeLUFunction.apply
fast_gelu_impl = FastGeLUFunction.apply
swiglu = SwiGLUFunction.apply
