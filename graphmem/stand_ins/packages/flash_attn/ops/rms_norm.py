"""flash_attn.ops.rms_norm: the norms of flash_attn.ops.layer_norm without a mean (which is allocated nevertheless)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flash_attn.ops.layer_norm import DropoutAddLayerNorm, DropoutAddLayerNormFn


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Any:
    """RMS norm over the last dimension."""
    return DropoutAddLayerNormFn.apply(x, None, weight, None, None, None, 0.0, epsilon, False, False, True)


def dropout_add_rms_norm(
    x0: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    dropout_p: float,
    epsilon: float,
    rowscale: Tensor | None = None,
    layerscale: Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    return_dropout_mask: bool = False,
) -> Any:
    """RMS norm of dropout(x0) + residual; with `prenorm` that sum is returned too."""
    scales = (rowscale, layerscale, dropout_p, epsilon)
    flags = (residual_in_fp32, prenorm, True, return_dropout_mask)
    return DropoutAddLayerNormFn.apply(x0, residual, weight, bias, *scales, *flags)


class RMSNorm(nn.Module):
    """RMS norm with a weight."""

    def __init__(
        self, hidden_size: int, eps: float = 1e-5, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Any:
        return rms_norm(x, self.weight, self.eps)


class DropoutAddRMSNorm(DropoutAddLayerNorm):
    """RMS norm of dropout(x0) + residual."""

    is_rms_norm = True
