"""flash_attn.flash_attn_interface of 2.8.3: the autograd functions save the same tensors, the kernels only allocate.

Shapes: q (b, s_q, a, d), k and v (b, s_k, a_k, d); with packed sequences (total, heads, d).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.stand_ins.operators import Saving, empty, kernel, last_dim_contiguous, refuse_shapes

flash_attn_gpu = None  # the compiled extension, which a stand-in does not have
Window = tuple[int, int]
EVERYTHING: Window = (-1, -1)


class _Options(NamedTuple):
    """What the autograd functions get besides tensors; `grad_mode` is that of the caller."""

    dropout_p: float
    softmax_scale: float | None
    causal: bool
    window_size: Window
    softcap: float
    alibi_slopes: Tensor | None
    return_attn_probs: bool
    grad_mode: bool


class _Lengths(NamedTuple):
    """Where each packed sequence starts (b + 1, int32), and the longest one."""

    cu_q: Tensor
    cu_k: Tensor
    max_q: int
    max_k: int
    block_table: Tensor | None = None


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


@kernel("flash_attn::_flash_attn_forward")
def _flash_attn_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    alibi_slopes: Tensor | None,
    return_softmax: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns out like q, lse (b, a, s_q), the probabilities for debugging, the state of the random generator."""
    refuse_shapes("flash-attn", (8, 0), q, k, v)
    q = last_dim_contiguous(q)
    batch, s_q, heads, _ = q.shape
    debug = (batch, heads, _round_up(s_q, 128), _round_up(k.shape[1], 128)) if return_softmax else (0,)
    lse = empty(q, batch, heads, s_q, dtype=torch.float32)
    return torch.empty_like(q), lse, empty(q, *debug), empty(q, 2, dtype=torch.int64)


@kernel("flash_attn::_flash_attn_varlen_forward")
def _flash_attn_varlen_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int = -1,
    window_size_right: int = -1,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    return_softmax: bool = False,
    block_table: Tensor | None = None,
    leftpad_k: Tensor | None = None,
    seqused_k: Tensor | None = None,
    zero_tensors: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns as the one above; lse is (a, total_q)."""
    refuse_shapes("flash-attn", (8, 0), q, k, v)
    q = last_dim_contiguous(q)
    total, heads, _ = q.shape
    batch = cu_seqlens_q.numel() - 1
    debug = (batch, heads, _round_up(max_seqlen_q, 128), _round_up(max_seqlen_k, 128)) if return_softmax else (0,)
    lse = empty(q, heads, total, dtype=torch.float32)
    return torch.empty_like(q), lse, empty(q, *debug), empty(q, 2, dtype=torch.int64)


_wrapped_flash_attn_forward = _flash_attn_forward
_wrapped_flash_attn_varlen_forward = _flash_attn_varlen_forward


def _attend(
    ctx: Any, tracked: bool, q: Tensor, k: Tensor, v: Tensor, options: _Options, lengths: _Lengths | None = None
) -> Any:
    """Pad the heads to a multiple of 8, run, and save; `tracked`: one of the function's inputs requires grad."""
    head_size = q.shape[-1]
    scale = options.softmax_scale if options.softmax_scale is not None else head_size**-0.5
    if head_size % 8:
        q, k, v = (F.pad(x, [0, 8 - head_size % 8]) for x in (q, k, v))
    settings: dict[str, Any] = {
        "causal": options.causal,
        "window_size_left": options.window_size[0],
        "window_size_right": options.window_size[1],
        "softcap": options.softcap,
        "alibi_slopes": options.alibi_slopes,
        "return_softmax": options.return_attn_probs and options.dropout_p > 0,
    }
    starts: tuple[Tensor, ...] = ()
    if lengths is None:
        out, lse, debug, rng = _flash_attn_forward(q, k, v, options.dropout_p, scale, **settings)
    else:
        starts = (lengths.cu_q,) if lengths.cu_q is lengths.cu_k else (lengths.cu_q, lengths.cu_k)
        out, lse, debug, rng = _flash_attn_varlen_forward(
            q, k, v, *lengths[:4], options.dropout_p, scale, block_table=lengths.block_table, **settings
        )
    if tracked and options.grad_mode:
        ctx.save_for_backward(q, k, v, out, lse, *starts, rng)
        ctx.alibi_slopes = options.alibi_slopes
    out = out[..., :head_size]
    return (out, lse, debug) if options.return_attn_probs else out


class FlashAttnFunc(Saving):
    """Saves q, k, v, out, lse and the random state."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, options: _Options) -> Any:
        return _attend(ctx, any(x.requires_grad for x in (q, k, v)), q, k, v, options)


class FlashAttnKVPackedFunc(Saving):
    """Saves k and v as views of kv (b, s_k, 2, a_k, d)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, kv: Tensor, options: _Options) -> Any:
        k, v = kv[:, :, 0].detach(), kv[:, :, 1].detach()
        return _attend(ctx, q.requires_grad or kv.requires_grad, q, k, v, options)


class FlashAttnQKVPackedFunc(Saving):
    """Saves q, k and v as views of qkv (b, s, 3, a, d)."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, options: _Options) -> Any:
        q, k, v = (qkv[:, :, i].detach() for i in range(3))
        return _attend(ctx, qkv.requires_grad, q, k, v, options)


class FlashAttnVarlenFunc(Saving):
    """Saves the starts of the sequences too."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, options: _Options, lengths: _Lengths) -> Any:
        return _attend(ctx, any(x.requires_grad for x in (q, k, v)), q, k, v, options, lengths)


class FlashAttnVarlenKVPackedFunc(Saving):
    """Saves k and v as views of kv (total_k, 2, a_k, d)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, kv: Tensor, options: _Options, lengths: _Lengths) -> Any:
        k, v = kv[:, 0].detach(), kv[:, 1].detach()
        return _attend(ctx, q.requires_grad or kv.requires_grad, q, k, v, options, lengths)


class FlashAttnVarlenQKVPackedFunc(Saving):
    """Saves q, k and v as views of qkv (total, 3, a, d)."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, options: _Options, lengths: _Lengths) -> Any:
        q, k, v = (qkv[:, i].detach() for i in range(3))
        return _attend(ctx, qkv.requires_grad, q, k, v, options, lengths)


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = EVERYTHING,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """Attention over q (b, s_q, a, d), k and v (b, s_k, a_k, d)."""
    given = (dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, return_attn_probs)
    return FlashAttnFunc.apply(q, k, v, _Options(*given, torch.is_grad_enabled()))


def flash_attn_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = EVERYTHING,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """Attention over q (b, s_q, a, d) and kv (b, s_k, 2, a_k, d)."""
    given = (dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, return_attn_probs)
    return FlashAttnKVPackedFunc.apply(q, kv, _Options(*given, torch.is_grad_enabled()))


def flash_attn_qkvpacked_func(
    qkv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = EVERYTHING,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """Attention over qkv (b, s, 3, a, d)."""
    given = (dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, return_attn_probs)
    return FlashAttnQKVPackedFunc.apply(qkv, _Options(*given, torch.is_grad_enabled()))


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = EVERYTHING,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
) -> Any:
    """Attention within each packed sequence: q (total_q, a, d), k and v (total_k, a_k, d)."""
    given = (dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, return_attn_probs)
    lengths = _Lengths(cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, block_table)
    return FlashAttnVarlenFunc.apply(q, k, v, _Options(*given, torch.is_grad_enabled()), lengths)


def flash_attn_varlen_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = EVERYTHING,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """Attention within each packed sequence: q (total_q, a, d), kv (total_k, 2, a_k, d)."""
    given = (dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, return_attn_probs)
    lengths = _Lengths(cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    return FlashAttnVarlenKVPackedFunc.apply(q, kv, _Options(*given, torch.is_grad_enabled()), lengths)


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = EVERYTHING,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """Attention within each packed sequence of qkv (total, 3, a, d)."""
    given = (dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, return_attn_probs)
    lengths = _Lengths(cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
    return FlashAttnVarlenQKVPackedFunc.apply(qkv, _Options(*given, torch.is_grad_enabled()), lengths)


@kernel("flash_attn::_flash_attn_with_kvcache")
def _with_kvcache(q: Tensor, k_cache: Tensor, v_cache: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), empty(q, q.shape[0], q.shape[2], q.shape[1], dtype=torch.float32)


def flash_attn_with_kvcache(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, *args: Any, return_softmax_lse: bool = False, **kwargs: Any
) -> Any:
    """Inference over a cache (b, s_cache, a_k, d): nothing is saved, and out has no gradient."""
    with torch.no_grad():
        out, lse = _with_kvcache(last_dim_contiguous(q), k_cache, v_cache)
    return (out, lse) if return_softmax_lse else out
