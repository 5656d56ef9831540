"""flash_attn.ops.triton.layer_norm: dropout, addition and norm in one kernel over rows (m, n)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.stand_ins.operators import Saving, empty, kernel, last_dim_contiguous


@kernel("graphmem::layer_norm", mutates=("out", "residual_out"))
def _norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    x1: Tensor | None,
    weight1: Tensor | None,
    bias1: Tensor | None,
    rowscale: Tensor | None,
    out: Tensor,
    residual_out: Tensor | None,
    dropout_p: float,
    is_rms_norm: bool,
    return_dropout_mask: bool,
) -> list[Tensor]:
    """y1, mean, rstd, seeds and the dropout masks of x and x1; empty where the kernel has none."""
    rows = x.shape[0]
    none = (0,)
    masked = return_dropout_mask and dropout_p > 0
    return [
        torch.empty_like(out) if weight1 is not None else empty(x, *none),
        empty(x, *(none if is_rms_norm else (rows,)), dtype=torch.float32),
        empty(x, rows, dtype=torch.float32),
        empty(x, *(((1 if x1 is None else 2) * rows,) if dropout_p > 0 else none), dtype=torch.int64),
        empty(x, *(x.shape if masked else none), dtype=torch.bool),
        empty(x, *(x.shape if masked and x1 is not None else none), dtype=torch.bool),
    ]


def _layer_norm_fwd(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    residual: Tensor | None = None,
    x1: Tensor | None = None,
    weight1: Tensor | None = None,
    bias1: Tensor | None = None,
    dropout_p: float = 0.0,
    rowscale: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    residual_dtype: torch.dtype | None = None,
    zero_centered_weight: bool = False,
    is_rms_norm: bool = False,
    return_dropout_mask: bool = False,
    out: Tensor | None = None,
    residual_out: Tensor | None = None,
) -> Any:
    """The output, y1, mean, rstd, the sum that was normed (x itself where nothing was added), seeds, masks."""
    if out is None:
        out = torch.empty_like(x, dtype=out_dtype)
    if residual is not None:
        residual_dtype = residual.dtype
    cast = residual_dtype is not None and residual_dtype != x.dtype
    changed = residual is not None or cast or dropout_p > 0 or rowscale is not None or x1 is not None
    # As in 2.8.3, where a buffer that the caller gives is not written either.
    residual_out = torch.empty_like(x, dtype=residual_dtype) if changed and residual_out is None else None
    made = _norm(
        x,
        weight,
        bias,
        residual,
        x1,
        weight1,
        bias1,
        rowscale,
        out,
        residual_out,
        dropout_p,
        is_rms_norm,
        return_dropout_mask,
    )
    y1, mean, rstd, seeds, mask, mask1 = (t if t.numel() else None for t in made)
    return out, y1, mean, rstd, x if residual_out is None else residual_out, seeds, mask, mask1


class LayerNormFn(Saving):
    """Saves the sum that was normed, weights and biases, row scale, seeds, mean and rstd."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        residual: Tensor | None = None,
        x1: Tensor | None = None,
        weight1: Tensor | None = None,
        bias1: Tensor | None = None,
        eps: float = 1e-6,
        dropout_p: float = 0.0,
        rowscale: Tensor | None = None,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
        zero_centered_weight: bool = False,
        is_rms_norm: bool = False,
        return_dropout_mask: bool = False,
        out_dtype: torch.dtype | None = None,
        out: Tensor | None = None,
        residual_out: Tensor | None = None,
    ) -> Any:
        shape = x.shape
        x, residual, x1 = _rows(x), _rows(residual), _rows(x1)
        weight = weight.contiguous()
        bias, weight1, bias1 = (None if t is None else t.contiguous() for t in (bias, weight1, bias1))
        rowscale = None if rowscale is None else rowscale.reshape(-1).contiguous()
        y, y1, mean, rstd, normed, seeds, mask, mask1 = _layer_norm_fwd(
            x,
            weight,
            bias,
            eps,
            residual,
            x1,
            weight1,
            bias1,
            dropout_p=dropout_p,
            rowscale=rowscale,
            out_dtype=out_dtype,
            residual_dtype=torch.float32 if residual_in_fp32 and residual is None else None,
            is_rms_norm=is_rms_norm,
            return_dropout_mask=return_dropout_mask,
            out=None if out is None else out.reshape(-1, out.shape[-1]),
            residual_out=None if residual_out is None else residual_out.reshape(-1, residual_out.shape[-1]),
        )
        ctx.save_for_backward(normed, weight, bias, weight1, bias1, rowscale, seeds, mean, rstd)
        outputs = [y.reshape(shape)]
        if weight1 is not None:
            outputs.append(y1.reshape(shape))
        if prenorm:
            outputs.append(normed.reshape(shape))
        if return_dropout_mask:
            outputs += [None if m is None else m.reshape(shape) for m in (mask, mask1)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _rows(x: Any) -> Any:
    return None if x is None else last_dim_contiguous(x.reshape(-1, x.shape[-1]))


def layer_norm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    x1: Tensor | None = None,
    weight1: Tensor | None = None,
    bias1: Tensor | None = None,
    eps: float = 1e-6,
    dropout_p: float = 0.0,
    rowscale: Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    zero_centered_weight: bool = False,
    is_rms_norm: bool = False,
    return_dropout_mask: bool = False,
    out_dtype: torch.dtype | None = None,
    out: Tensor | None = None,
    residual_out: Tensor | None = None,
) -> Any:
    """Norm of dropout(x) + residual, of any leading shape; with `prenorm` that sum is returned too."""
    added = (residual, x1, weight1, bias1, eps, dropout_p, rowscale, prenorm, residual_in_fp32, zero_centered_weight)
    made = (is_rms_norm, return_dropout_mask, out_dtype, out, residual_out)
    return LayerNormFn.apply(x, weight, bias, *added, *made)


def rms_norm_fn(x: Tensor, weight: Tensor, bias: Tensor | None, *args: Any, **kwargs: Any) -> Any:
    """`layer_norm_fn` without a mean; its arguments are the same but for `is_rms_norm`."""
    names = "residual x1 weight1 bias1 eps dropout_p rowscale prenorm residual_in_fp32 zero_centered_weight"
    names += " return_dropout_mask out_dtype out residual_out"
    given = dict(zip(names.split(), args, strict=False))
    return layer_norm_fn(x, weight, bias, **given, **kwargs, is_rms_norm=True)


class RMSNorm(torch.nn.Module):
    """RMS norm with a weight, after dropout and addition where these are asked for."""

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        dropout_p: float = 0.0,
        zero_centered_weight: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.drop = torch.nn.Dropout(dropout_p) if dropout_p > 0 else None
        self.zero_centered_weight = zero_centered_weight
        self.weight = torch.nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        torch.nn.init.constant_(self.weight, 0.0 if self.zero_centered_weight else 1.0)

    def forward(
        self, x: Tensor, residual: Tensor | None = None, prenorm: bool = False, residual_in_fp32: bool = False
    ) -> Any:
        return rms_norm_fn(
            x,
            self.weight,
            None,
            residual=residual,
            eps=self.eps,
            dropout_p=self.drop.p if self.drop is not None and self.training else 0.0,
            prenorm=prenorm,
            residual_in_fp32=residual_in_fp32,
            zero_centered_weight=self.zero_centered_weight,
        )


class LayerNormLinearFn(Saving):
    """A norm and the linear layer behind it; the norm's output is not saved."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor | None,
        linear_weight: Tensor,
        linear_bias: Tensor | None,
        residual: Tensor | None = None,
        eps: float = 1e-6,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
        is_rms_norm: bool = False,
    ) -> Any:
        shape = x.shape
        autocast = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        norm_weight = norm_weight.contiguous()
        norm_bias = None if norm_bias is None else norm_bias.contiguous()
        y, _, mean, rstd, normed, *_ = _layer_norm_fwd(
            _rows(x),
            norm_weight,
            norm_bias,
            eps,
            _rows(residual),
            out_dtype=autocast,
            residual_dtype=torch.float32 if residual_in_fp32 and residual is None else None,
            is_rms_norm=is_rms_norm,
        )
        dtype = autocast or y.dtype
        linear_weight = linear_weight.to(dtype)
        linear_bias = None if linear_bias is None else linear_bias.to(dtype)
        out = F.linear(y.reshape(shape).to(dtype), linear_weight, linear_bias)
        ctx.save_for_backward(normed, norm_weight, norm_bias, linear_weight, mean, rstd)
        return (out, normed.reshape(shape)) if prenorm else out


def layer_norm_linear_fn(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor | None,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    residual: Tensor | None = None,
    eps: float = 1e-6,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    is_rms_norm: bool = False,
) -> Any:
    """linear(norm(x + residual))."""
    linear = (linear_weight, linear_bias)
    return LayerNormLinearFn.apply(
        x, norm_weight, norm_bias, *linear, residual, eps, prenorm, residual_in_fp32, is_rms_norm
    )
