"""flash_attn.ops.layer_norm, which runs the extension dropout_layer_norm: dropout, addition, norm of rows (m, n)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from graphmem.stand_ins.operators import Saving, empty, kernel


@kernel("graphmem::dropout_add_layer_norm")
def _norm(
    x0: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor | None,
    rowscale: Tensor | None,
    colscale: Tensor | None,
    dropout_p: float,
    residual_in_fp32: bool,
) -> list[Tensor]:
    """z, the sum x, the dropout mask, mean and rstd; x and the mask are empty where the kernel has none."""
    rows = x0.shape[0]
    kept = torch.float32 if residual_in_fp32 and residual is None else (x0 if residual is None else residual).dtype
    scaled = rowscale is not None or colscale is not None
    own_sum = residual is not None or dropout_p > 0 or scaled or kept != x0.dtype
    return [
        empty(x0, *x0.shape),
        empty(x0, *(x0.shape if own_sum else (0,)), dtype=kept),
        empty(x0, *(x0.shape if dropout_p > 0 else (0,)), dtype=torch.uint8),
        empty(x0, rows, dtype=torch.float32),
        empty(x0, rows, dtype=torch.float32),
    ]


class DropoutAddLayerNormFn(Saving):
    """Saves the sum, x0 if there is a column scale, the dropout mask, gamma, mean, rstd and the scales."""

    @staticmethod
    def forward(
        ctx: Any,
        x0: Tensor,
        residual: Tensor | None,
        gamma: Tensor,
        beta: Tensor | None,
        rowscale: Tensor | None,
        colscale: Tensor | None,
        dropout_p: float,
        epsilon: float,
        residual_in_fp32: bool = False,
        prenorm: bool = False,
        is_rms_norm: bool = False,
        return_dmask: bool = False,
    ) -> Any:
        given = (residual, beta, rowscale, colscale)
        residual, beta, rowscale, colscale = (None if t is None else t.contiguous() for t in given)
        x0, gamma = x0.contiguous(), gamma.contiguous()
        rows, flat = x0.view(-1, gamma.numel()), None if residual is None else residual.view(-1, gamma.numel())
        flat_scale = None if rowscale is None else rowscale.view(-1)
        z, x, mask, mean, rstd = _norm(rows, flat, gamma, beta, flat_scale, colscale, dropout_p, residual_in_fp32)
        x = x.view(x0.shape) if x.numel() else x0.view(x0.shape)
        dropped = mask if dropout_p > 0 else None
        ctx.save_for_backward(x, x0 if colscale is not None else None, dropped, gamma, mean, rstd, rowscale, colscale)
        outputs = [z.view(x0.shape), x] if prenorm else [z.view(x0.shape)]
        if return_dmask:
            ones = torch.ones(x0.shape, dtype=torch.uint8, device=x0.device) if dropped is None else None
            outputs.append(mask.view(x0.shape) if ones is None else ones)
            ctx.mark_non_differentiable(outputs[-1])
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, epsilon: float) -> Any:
    """Layer norm over the last dimension."""
    return DropoutAddLayerNormFn.apply(x, None, weight, bias, None, None, 0.0, epsilon)


def dropout_add_layer_norm(
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
    """Layer norm of dropout(x0) + residual; with `prenorm` that sum is returned too."""
    scales = (rowscale, layerscale, dropout_p, epsilon)
    flags = (residual_in_fp32, prenorm, False, return_dropout_mask)
    return DropoutAddLayerNormFn.apply(x0, residual, weight, bias, *scales, *flags)


class DropoutAddLayerNorm(nn.Module):
    """Layer norm of dropout(x0) + residual."""

    is_rms_norm = False

    def __init__(
        self,
        hidden_size: int,
        prenorm: bool = False,
        p: float = 0.0,
        eps: float = 1e-5,
        residual_in_fp32: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.prenorm = prenorm
        self.p = p
        self.eps = eps
        self.residual_in_fp32 = residual_in_fp32
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))
        bias = None if self.is_rms_norm else nn.Parameter(torch.zeros(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", bias)

    def forward(self, x0: Tensor, residual: Tensor | None = None) -> Any:
        scales = (None, None, self.p if self.training else 0.0, self.eps)
        flags = (self.residual_in_fp32, self.prenorm, self.is_rms_norm)
        return DropoutAddLayerNormFn.apply(x0, residual, self.weight, self.bias, *scales, *flags)
