"""flash_attn.layers.rotary: rotations save cos and sin (s, rotary_dim / 2) only, and most write where they read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flash_attn.ops.triton.rotary import apply_rotary
from graphmem.stand_ins.operators import Saving


def _save(ctx: Any, tables: tuple[Tensor | None, ...], offsets: int | Tensor) -> None:
    ctx.save_for_backward(*tables, *((offsets,) if isinstance(offsets, Tensor) else ()))


class ApplyRotaryEmb(Saving):
    """Rotates x, in place if asked to."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        interleaved: bool,
        inplace: bool,
        offsets: int | Tensor,
        cu_seqlens: Tensor | None,
        max_seqlen: int | None,
    ) -> Tensor:
        out = apply_rotary(x, cos, sin, offsets, cu_seqlens, max_seqlen, interleaved, inplace)
        _save(ctx, (cos, sin, cu_seqlens), offsets)
        return x if inplace else out


def apply_rotary_emb(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    interleaved: bool = False,
    inplace: bool = False,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
) -> Any:
    """Rotate x (b, s, a, d), or (total, a, d) with `cu_seqlens`."""
    return ApplyRotaryEmb.apply(x, cos, sin, interleaved, inplace, seqlen_offsets, cu_seqlens, max_seqlen)


apply_rotary_emb_func = apply_rotary_emb


class ApplyRotaryEmbQKV_(Saving):  # noqa: N801
    """Rotates q and k within qkv, in place."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        cos: Tensor,
        sin: Tensor,
        cos_k: Tensor | None,
        sin_k: Tensor | None,
        interleaved: bool,
        offsets: int | Tensor,
        num_heads_q: int | None,
    ) -> Tensor:
        if qkv.dim() == 5:
            q, k, both = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, :2].flatten(2, 3) if qkv.is_contiguous() else None
        else:
            if num_heads_q is None:
                raise AssertionError("num_heads_q must be given for qkv of 4 dimensions")
            rotated = (qkv.shape[2] + num_heads_q) // 2
            q, k, both = qkv[:, :, :num_heads_q], qkv[:, :, num_heads_q:rotated], qkv[:, :, :rotated]
        if cos_k is None and sin_k is None and qkv.is_contiguous() and both is not None:
            apply_rotary(both, cos, sin, offsets, interleaved=interleaved, inplace=True)
        else:
            apply_rotary(q, cos, sin, offsets, interleaved=interleaved, inplace=True)
            apply_rotary(
                k,
                cos if cos_k is None else cos_k,
                sin if sin_k is None else sin_k,
                offsets,
                interleaved=interleaved,
                inplace=True,
            )
        _save(ctx, (cos, sin, cos_k, sin_k), offsets)
        return qkv


def apply_rotary_emb_qkv_(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    cos_k: Tensor | None = None,
    sin_k: Tensor | None = None,
    interleaved: bool = False,
    seqlen_offsets: int | Tensor = 0,
    num_heads_q: int | None = None,
) -> Any:
    """Rotate q and k of qkv (b, s, 3, a, d) or (b, s, a + 2 * a_k, d) in place."""
    return ApplyRotaryEmbQKV_.apply(qkv, cos, sin, cos_k, sin_k, interleaved, seqlen_offsets, num_heads_q)


class ApplyRotaryEmbKV_(Saving):  # noqa: N801
    """Rotates k within kv, in place."""

    @staticmethod
    def forward(ctx: Any, kv: Tensor, cos: Tensor, sin: Tensor, interleaved: bool, offsets: int | Tensor) -> Tensor:
        apply_rotary(kv[:, :, 0], cos, sin, offsets, interleaved=interleaved, inplace=True)
        _save(ctx, (cos, sin), offsets)
        return kv


def apply_rotary_emb_kv_(
    kv: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False, seqlen_offsets: int | Tensor = 0
) -> Any:
    """Rotate k of kv (b, s, 2, a_k, d) in place."""
    return ApplyRotaryEmbKV_.apply(kv, cos, sin, interleaved, seqlen_offsets)


class RotaryEmbedding(torch.nn.Module):
    """Tables of cos and sin, made at the first forward and kept, and their application to qkv or to q and kv."""

    def __init__(
        self,
        dim: int,
        base: float = 10000.0,
        interleaved: bool = False,
        scale_base: float | None = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.base = float(base)
        self.interleaved = interleaved
        self.scale_base = scale_base
        self.inv_freq: Tensor
        self.scale: Tensor | None
        self.register_buffer("inv_freq", self._compute_inv_freq(device), persistent=False)
        steps = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
        scale = None if scale_base is None else (steps + 0.4 * dim) / (1.4 * dim)
        self.register_buffer("scale", scale, persistent=False)
        self._seq_len_cached = 0
        self._cos_cached: Tensor | None = None
        self._sin_cached: Tensor | None = None
        self._cos_k_cached: Tensor | None = None
        self._sin_k_cached: Tensor | None = None

    def _compute_inv_freq(self, device: Any = None) -> Tensor:
        return 1.0 / self.base ** (torch.arange(0, self.dim, 2, device=device, dtype=torch.float32) / self.dim)

    def _update_cos_sin_cache(self, seqlen: int, device: Any = None, dtype: torch.dtype | None = None) -> None:
        cached = self._cos_cached
        if (
            cached is not None
            and seqlen <= self._seq_len_cached
            and (cached.device, cached.dtype) == (device, dtype)
            and not (self.training and cached.is_inference())
        ):
            return
        self._seq_len_cached = seqlen
        positions = torch.arange(seqlen, device=device, dtype=torch.float32)
        exact = self.inv_freq.dtype == torch.float32
        angles = torch.outer(positions, self.inv_freq if exact else self._compute_inv_freq(device))
        cos, sin = torch.cos(angles), torch.sin(angles)
        if self.scale is None or self.scale_base is None:
            self._cos_cached, self._sin_cached = cos.to(dtype), sin.to(dtype)
            return
        steps = torch.arange(seqlen, dtype=self.scale.dtype, device=self.scale.device)
        power = (steps - seqlen // 2) / self.scale_base
        scale = self.scale.to(power.device) ** power[:, None]
        self._cos_cached, self._sin_cached = (cos * scale).to(dtype), (sin * scale).to(dtype)
        self._cos_k_cached, self._sin_k_cached = (cos / scale).to(dtype), (sin / scale).to(dtype)

    def forward(
        self,
        qkv: Tensor,
        kv: Tensor | None = None,
        seqlen_offset: int | Tensor = 0,
        max_seqlen: int | None = None,
        num_heads_q: int | None = None,
    ) -> Any:
        if max_seqlen is not None:
            self._update_cos_sin_cache(max_seqlen, device=qkv.device, dtype=qkv.dtype)
        elif isinstance(seqlen_offset, int):
            self._update_cos_sin_cache(qkv.shape[1] + seqlen_offset, device=qkv.device, dtype=qkv.dtype)
        cos, sin = self._cos_cached, self._sin_cached
        cos_k, sin_k = (None, None) if self.scale is None else (self._cos_k_cached, self._sin_k_cached)
        if cos is None or sin is None:
            raise AssertionError("max_seqlen must be given where the offsets are a tensor")
        if kv is None:
            return apply_rotary_emb_qkv_(qkv, cos, sin, cos_k, sin_k, self.interleaved, seqlen_offset, num_heads_q)
        q = apply_rotary_emb(qkv, cos, sin, self.interleaved, inplace=True, seqlen_offsets=seqlen_offset)
        if cos_k is not None and sin_k is not None:
            cos, sin = cos_k, sin_k
        return q, apply_rotary_emb_kv_(kv, cos, sin, self.interleaved, seqlen_offset)
