"""flash_attn.ops.triton.rotary: one kernel, which writes the rotated part of x."""

from __future__ import annotations

import torch
from torch import Tensor


def apply_rotary(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
    interleaved: bool = False,
    inplace: bool = False,
    conjugate: bool = False,
) -> Tensor:
    """Rotate x (b, s, a, d), or (total, a, d) with `cu_seqlens`, by cos and sin (s, rotary_dim / 2)."""
    rotary_dim = 2 * cos.shape[-1]
    if cu_seqlens is not None and max_seqlen is None:
        raise AssertionError("If cu_seqlens is passed in, then max_seqlen must be passed")
    seqlen = x.shape[1] if cu_seqlens is None else max_seqlen
    if sin.shape != cos.shape or rotary_dim > x.shape[-1] or x.shape[-1] > 256 or cos.shape[0] < (seqlen or 0):
        raise AssertionError(f"rotary: x {tuple(x.shape)} does not fit cos {tuple(cos.shape)}, sin {tuple(sin.shape)}")
    # The kernel writes without autograd's knowledge, so a part of a split may be rotated in place.
    output = x if inplace else torch.empty_like(x)
    if rotary_dim < x.shape[-1] and not inplace:
        output[..., rotary_dim:].copy_(x[..., rotary_dim:])
    return output
