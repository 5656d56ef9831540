"""Stands in for flash-attn-3: flash_attn_interface. No dropout, no random state, no padding.

Shapes: q (b, s_q, a, d), k (b, s_k, a_k, d), v (b, s_k, a_k, d_v); with packed sequences (total, heads, d).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphmem.stand_ins.operators import Saving, empty, kernel

__version__ = "3.0.0"
Window = tuple[int, int]
EVERYTHING: Window = (-1, -1)


@kernel("flash_attn_3::_flash_attn_forward")
def _flash_attn_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_new: Tensor | None = None,
    v_new: Tensor | None = None,
    qv: Tensor | None = None,
    out_: Tensor | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    cu_seqlens_k_new: Tensor | None = None,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    page_table: Tensor | None = None,
    kv_batch_idx: Tensor | None = None,
    leftpad_k: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    seqlens_rotary: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size_left: int = -1,
    window_size_right: int = -1,
    attention_chunk: int = 0,
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    scheduler_metadata: Tensor | None = None,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    sm_margin: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns out, lse (b, a, s_q) or (a, total_q), and the parts that are summed where the keys are split."""
    if q.shape[-1] % 8:
        raise RuntimeError("head_size should be a multiple of 8")
    *tokens, heads, _ = q.shape
    shape = (tokens[0], heads, tokens[1]) if cu_seqlens_q is None else (heads, tokens[0])
    out_dtype = torch.bfloat16 if q.dtype == torch.float8_e4m3fn else q.dtype
    parts = num_splits if num_splits > 1 else 0
    return (
        empty(q, *tokens, heads, v.shape[-1], dtype=out_dtype),
        empty(q, *shape, dtype=torch.float32),
        empty(q, *((parts, *shape, v.shape[-1]) if parts else (0,)), dtype=torch.float32),
        empty(q, *((parts, *shape) if parts else (0,)), dtype=torch.float32),
    )


def _attend(ctx: Any, q: Tensor, k: Tensor, v: Tensor, how: dict[str, Any], return_lse: bool, *lengths: Any) -> Any:
    """Run and save; `how`: what the operator gets by name."""
    out, lse, *_ = _flash_attn_forward(q, k, v, **how)
    ctx.save_for_backward(q, k, v, out, lse, *lengths)
    return (out, lse) if return_lse else out


class FlashAttnFunc(Saving):
    """Saves q, k, v, out and lse."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, how: dict[str, Any], return_lse: bool) -> Any:
        return _attend(ctx, q, k, v, how, return_lse)


class FlashAttnQKVPackedFunc(Saving):
    """Saves q, k and v as views of qkv (b, s, 3, a, d) or (b, s, a + 2 * a_k, d)."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, num_heads_q: int | None, how: dict[str, Any], return_lse: bool) -> Any:
        if qkv.dim() == 5:
            q, k, v = qkv.unbind(dim=-3)
        else:
            if num_heads_q is None:
                raise AssertionError("num_heads_q must be given for qkv of 4 dimensions")
            num_heads_k = (qkv.shape[2] - num_heads_q) // 2
            q, k, v = qkv.split([num_heads_q, num_heads_k, num_heads_k], dim=-2)
        return _attend(ctx, q, k, v, how, return_lse)


class FlashAttnVarlenFunc(Saving):
    """Saves the lengths of the sequences too."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, how: dict[str, Any], return_lse: bool) -> Any:
        lengths = (how[name] for name in ("cu_seqlens_q", "cu_seqlens_k", "seqused_q", "seqused_k"))
        return _attend(ctx, q, k, v, how, return_lse, *lengths)


def _how(window_size: Window, **others: Any) -> dict[str, Any]:
    return {"window_size_left": window_size[0], "window_size_right": window_size[1], **others}


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    qv: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    window_size: Window = EVERYTHING,
    attention_chunk: int = 0,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    sm_margin: int = 0,
    return_attn_probs: bool = False,
) -> Any:
    """Attention over q (b, s_q, a, d), k (b, s_k, a_k, d), v (b, s_k, a_k, d_v)."""
    how = _how(window_size, qv=qv, causal=causal, softmax_scale=softmax_scale, num_splits=num_splits)
    return FlashAttnFunc.apply(q, k, v, how, return_attn_probs)


def flash_attn_qkvpacked_func(
    qkv: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    window_size: Window = EVERYTHING,
    attention_chunk: int = 0,
    softcap: float = 0.0,
    deterministic: bool = False,
    num_heads_q: int | None = None,
    sm_margin: int = 0,
    return_attn_probs: bool = False,
) -> Any:
    """Attention over qkv (b, s, 3, a, d) or (b, s, a + 2 * a_k, d)."""
    how = _how(window_size, causal=causal, softmax_scale=softmax_scale)
    return FlashAttnQKVPackedFunc.apply(qkv, num_heads_q, how, return_attn_probs)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    qv: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    window_size: Window = EVERYTHING,
    attention_chunk: int = 0,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    sm_margin: int = 0,
    return_attn_probs: bool = False,
) -> Any:
    """Attention within each packed sequence: q (total_q, a, d), k (total_k, a_k, d), v (total_k, a_k, d_v)."""
    lengths = {"cu_seqlens_q": cu_seqlens_q, "cu_seqlens_k": cu_seqlens_k, "seqused_q": seqused_q}
    how = _how(window_size, qv=qv, causal=causal, softmax_scale=softmax_scale, num_splits=num_splits, **lengths)
    how |= {"seqused_k": seqused_k, "max_seqlen_q": max_seqlen_q, "max_seqlen_k": max_seqlen_k}
    return FlashAttnVarlenFunc.apply(q, k, v, how, return_attn_probs)


def flash_attn_with_kvcache(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, *args: Any, return_softmax_lse: bool = False, **kwargs: Any
) -> Any:
    """Inference over a cache (b, s_cache, a_k, d): nothing is saved, and out has no gradient."""
    with torch.no_grad():
        out, lse, *rest = _flash_attn_forward(q, k_cache, v_cache)
    return (out, lse, *rest) if return_softmax_lse else out
