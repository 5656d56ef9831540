"""flash_attn.cute.interface of flash-attn-4: no dropout, no padding; the real one has no operators, this one has one.

Shapes: q (b, s_q, a, d), k (b, s_k, a_k, d), v (b, s_k, a_k, d_v); with packed sequences (total, heads, d).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphmem.stand_ins.operators import Saving, empty, kernel

Window = tuple[int | None, int | None]


@kernel("flash_attn_4::_flash_attn_forward")
def _forward(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    qv: Tensor | None,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    gather_kv_indices: Tensor | None,
    causal: bool,
    window_size_left: int | None,
    window_size_right: int | None,
    with_lse: bool,
    saves: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns out, lse, and for sparse MLA p and row_max; empty where there is none."""
    heads = q.shape[-2]
    tokens = q.shape[:-2]
    out = empty(q, *tokens, heads, v.shape[-1], dtype=torch.bfloat16 if q.dtype.itemsize == 1 else None)
    if qv is not None:
        shape = (*tokens, heads)
    else:
        shape = (tokens[0], heads, tokens[1]) if cu_seqlens_q is None else (heads, tokens[0])
    lse = empty(q, *(shape if with_lse or saves else (0,)), dtype=torch.float32)
    gathered = gather_kv_indices.shape[-1] if gather_kv_indices is not None and saves else 0
    p = empty(q, *((*tokens, heads, gathered) if gathered else (0,)))
    row_max = empty(q, *((*tokens, gathered // 128, heads) if gathered else (0,)), dtype=torch.float32)
    return out, lse, p, row_max


def _attend(
    ctx: Any,
    q: Any,
    k: Any,
    v: Tensor,
    qv: Any,
    gather_kv_indices: Any,
    causal: bool,
    window_size: Window,
    learnable_sink: Any,
    aux_tensors: Any,
    return_lse: bool,
    lengths: tuple[Any, ...] = (),
) -> Any:
    """Run and save; `lengths`: cu_seqlens_q, cu_seqlens_k, seqused_q, seqused_k, for packed sequences only."""
    if k is v and v.shape[-1] == 512:  # MLA with its projections absorbed
        qv = q if qv is None else qv
        q = k = None
    saves = any(t is not None and t.requires_grad for t in (q, k, v, qv, learnable_sink))
    if v.dtype.itemsize == 1 and saves:
        raise NotImplementedError("FA4 CuTe FP8 backward is not supported yet (forward-only).")
    query = q if q is not None else qv
    cu_seqlens_q, cu_seqlens_k = lengths[:2] if lengths else (None, None)
    made = _forward(
        query, k, v, qv, cu_seqlens_q, cu_seqlens_k, gather_kv_indices, causal, *window_size, return_lse, saves
    )
    out, lse, p, row_max = (t if t.numel() else None for t in made)
    ctx.save_for_backward(
        q, k, v, qv, out, lse, p, row_max, gather_kv_indices, learnable_sink, *lengths, *(aux_tensors or ())
    )
    ctx.set_materialize_grads(False)
    return out, lse


class FlashAttnFunc(Saving):
    """Saves q, k, v, out and lse. `rest`: the arguments of `flash_attn_func` in their order."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Any:
        qv, gather_kv_indices, _, causal, window_size, learnable_sink = rest[:6]
        return _attend(
            ctx, q, k, v, qv, gather_kv_indices, causal, window_size, learnable_sink, rest[13], return_lse=rest[17]
        )


class FlashAttnVarlenFunc(Saving):
    """Saves the lengths of the sequences too."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, qv: Any, *rest: Any) -> Any:
        lengths, gather_kv_indices = rest[:4], rest[7]
        causal, window_size, learnable_sink = rest[10:13]
        others = (causal, window_size, learnable_sink, rest[21], rest[23])
        return _attend(ctx, q, k, v, qv, gather_kv_indices, *others, lengths)


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    qv: Tensor | None = None,
    gather_kv_indices: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = (None, None),
    learnable_sink: Tensor | None = None,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    score_mod: Any = None,
    score_mod_bwd: Any = None,
    mask_mod: Any = None,
    aux_tensors: list[Tensor] | None = None,
    aux_scalars: Any = None,
    block_sparse_tensors: Any = None,
    block_sparse_tensors_bwd: Any = None,
    return_lse: bool = False,
) -> Any:
    """Out (b, s_q, a, d_v) and lse (b, a, s_q), or None where nobody needs it."""
    mla = (qv, gather_kv_indices, softmax_scale)
    how = (causal, window_size, learnable_sink, softcap, num_splits, pack_gqa, deterministic)
    mods = (score_mod, score_mod_bwd, mask_mod, aux_tensors, aux_scalars)
    return FlashAttnFunc.apply(q, k, v, *mla, *how, *mods, block_sparse_tensors, block_sparse_tensors_bwd, return_lse)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    qv: Tensor | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    min_seqlen_k: int | None = None,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    gather_kv_indices: Tensor | None = None,
    page_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = (None, None),
    learnable_sink: Tensor | None = None,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    score_mod: Any = None,
    score_mod_bwd: Any = None,
    mask_mod: Any = None,
    block_sparse_tensors: Any = None,
    aux_tensors: list[Tensor] | None = None,
    aux_scalars: Any = None,
    return_lse: bool = False,
    scheduler_metadata: Any = None,
    seqlen_k_per_split: int | None = None,
    disable_scheduler_metadata: bool = False,
) -> Any:
    """Out (total_q, a, d_v) and lse (a, total_q), or None where nobody needs it."""
    lengths = (cu_seqlens_q, cu_seqlens_k, seqused_q, seqused_k, max_seqlen_q, max_seqlen_k, min_seqlen_k)
    where = (gather_kv_indices, page_table, softmax_scale)
    how = (causal, window_size, learnable_sink, softcap, num_splits, pack_gqa, deterministic)
    mods = (score_mod, score_mod_bwd, mask_mod, block_sparse_tensors, aux_tensors, aux_scalars)
    scheduling = (scheduler_metadata, seqlen_k_per_split, disable_scheduler_metadata)
    return FlashAttnVarlenFunc.apply(q, k, v, qv, *lengths, *where, *how, *mods, return_lse, *scheduling)
