"""xformers.ops.fmha: saves q, k, v, out and lse; the node has the random state and a mask's tensor as attributes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphmem.stand_ins.operators import Saving, empty, kernel
from xformers.ops.fmha import attn_bias
from xformers.ops.fmha.attn_bias import AttentionBias, BlockDiagonalMask, LowerTriangularMask
from xformers.ops.fmha.dispatch import Cutlass, Flash, Inputs, Kernel, bias_tensor, choose

MemoryEfficientAttentionFlashAttentionOp = (Flash, Flash)
MemoryEfficientAttentionCutlassOp = (Cutlass, Cutlass)
__all__ = [
    "AttentionBias",
    "BlockDiagonalMask",
    "LowerTriangularMask",
    "MemoryEfficientAttentionCutlassOp",
    "MemoryEfficientAttentionFlashAttentionOp",
    "attn_bias",
    "memory_efficient_attention",
    "memory_efficient_attention_forward",
]


@kernel("xformers_flash::flash_fwd")
def _flash_fwd(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    seqused_k: Tensor | None,
    max_seqlen_q: int,
    max_seqlen_k: int,
    p: float,
    softmax_scale: float,
    is_causal: bool,
    window_left: int,
    window_right: int,
    return_softmax: bool,
    block_tables: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns out like query, lse (b, a, s_q) or (a, total_q), the state of the random generator."""
    *batch, tokens, heads, _ = query.shape
    shape = (*batch, heads, tokens)
    return torch.empty_like(query), empty(query, *shape, dtype=torch.float32), empty(query, 2, dtype=torch.int64)


def _window(bias: Any) -> tuple[int, int]:
    if isinstance(bias, attn_bias.LocalAttentionFromBottomRightMask):
        return bias.window_left, bias.window_right
    size = getattr(bias, "_window_size", None)
    return (-1, -1) if size is None else (size - 1, -1)


_CAUSAL = (
    attn_bias.LowerTriangularMask,
    attn_bias.LowerTriangularFromBottomRightMask,
    attn_bias.BlockDiagonalCausalMask,
    attn_bias.BlockDiagonalCausalFromBottomRightMask,
)
_FROM_BOTTOM_RIGHT = (
    attn_bias.LowerTriangularFromBottomRightMask,
    attn_bias.BlockDiagonalCausalFromBottomRightMask,
)


def _run_flash(inp: Inputs) -> tuple[Tensor, Tensor, Any]:
    """Out in the query's shape, lse (b, a, s_q) or (1, a, total_q), the random state."""
    q, k, v = (_folded(x) for x in inp[:3])
    if k.stride(2) == 0 and v.stride(2) == 0:  # one key for all heads
        k, v = k[:, :, :1], v[:, :, :1]
    bias = inp.attn_bias
    packed = isinstance(bias, BlockDiagonalMask)
    starts: tuple[Any, Any] = (None, None)
    longest = (q.shape[1], k.shape[1])
    if packed:
        starts = (_starts(bias.q_seqinfo, q), _starts(bias.k_seqinfo, q))
        longest = (bias.q_seqinfo.max_seqlen, bias.k_seqinfo.max_seqlen)
        q, k, v = (x.reshape(-1, *x.shape[2:]) for x in (q, k, v))
    scale = inp.query.shape[-1] ** -0.5 if inp.scale is None else inp.scale
    causal = isinstance(bias, _CAUSAL)
    out, lse, rng = _flash_fwd(q, k, v, *starts, None, *longest, inp.p, scale, causal, *_window(bias), False, None)
    return out.reshape(inp.query.shape), lse.unsqueeze(0) if packed else lse, rng


def _folded(x: Tensor) -> Tensor:
    """(b, s, groups, heads, d) as (b, s, heads, d), once for each group where its heads are the same."""
    if x.dim() == 4:
        return x
    return x[:, :, :, 0] if x.stride(3) == 0 else x.reshape(*x.shape[:2], -1, x.shape[4])


def _starts(info: attn_bias._SeqLenInfo, like: Tensor) -> Tensor:
    return torch.tensor(info.seqstart_py, dtype=torch.int32).to(like.device)


def _run_cutlass(inp: Inputs) -> tuple[Tensor, Tensor, Any]:
    """Out, lse (b, a, s_q rounded up to 32), and the random state, two numbers."""
    if inp.query.dim() == 5:  # forward only: one launch for each group
        groups = range(inp.query.shape[2])
        parts = [inp._replace(query=inp.query[:, :, i], key=inp.key[:, :, i], value=inp.value[:, :, i]) for i in groups]
        outs = [_run_cutlass(part)[0] for part in parts]
        return torch.stack(outs, dim=2), empty(inp.query, 0), None
    bias = inp.attn_bias
    packed = isinstance(bias, BlockDiagonalMask)
    tracked = any(x.requires_grad for x in inp[:3])
    out, lse, seed, offset, _, _ = torch.ops.aten._efficient_attention_forward(
        inp.query,
        inp.key,
        inp.value,
        bias_tensor(bias),
        _starts(bias.q_seqinfo, inp.query) if packed else None,
        _starts(bias.k_seqinfo, inp.query) if packed else None,
        bias.q_seqinfo.max_seqlen if packed else -1,
        bias.k_seqinfo.max_seqlen if packed else -1,
        inp.p,
        0 if not isinstance(bias, _CAUSAL) else 2 if isinstance(bias, _FROM_BOTTOM_RIGHT) else 1,
        tracked,
        scale=inp.scale,
        window_size=getattr(bias, "_window_size", None),
    )
    return out, lse, (seed, offset)


def _run(chosen: type[Kernel], inp: Inputs) -> tuple[Tensor, Tensor, Any]:
    return _run_flash(inp) if chosen is Flash else _run_cutlass(inp)


class _fMHA(Saving):  # noqa: N801
    """Saves q, k, v, out and lse."""

    @staticmethod
    def forward(
        ctx: Any, chosen: type[Kernel], query: Tensor, key: Tensor, value: Tensor, bias: Any, p: float, scale: Any
    ) -> tuple[Tensor, Tensor]:
        out, lse, rng = _run(chosen, Inputs(query, key, value, bias, p, scale))
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.rng_state = rng if p else None
        ctx.attn_bias = bias
        return out, lse


def memory_efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,
    output_dtype: torch.dtype | None = None,
) -> Any:
    """Attention over q (b, s_q, a, d), k and v (b, s_k, a, d), or (b, s, d), or (b, s, groups, a, d)."""
    shape = (*query.shape[:-1], value.shape[-1])
    if query.dim() == 3:
        query, key, value = (x.unsqueeze(2) for x in (query, key, value))
        attn_bias = attn_bias.unsqueeze(1) if isinstance(attn_bias, Tensor) else attn_bias
    _check(query, key, value, attn_bias)
    tracked = any(x.requires_grad for x in (query, key, value))
    inp = Inputs(query, key, value, attn_bias, p, scale)
    chosen = choose(inp, tracked, None if op is None else op[0])
    out = _fMHA.apply(chosen, *inp)[0] if tracked else _run(chosen, inp)[0]
    return out.reshape(shape)


def memory_efficient_attention_forward(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The same without gradient."""
    with torch.no_grad():
        return memory_efficient_attention(query.detach(), key.detach(), value.detach(), *args, **kwargs)


def _check(query: Tensor, key: Tensor, value: Tensor, bias: Any) -> None:
    shapes = [tuple(x.shape) for x in (query, key, value)]
    same = query.shape[:1] + query.shape[2:-1]
    fits = all(x.shape[:1] + x.shape[2:-1] == same for x in (key, value))
    if not fits or key.shape[1] != value.shape[1] or key.shape[-1] != query.shape[-1]:
        raise ValueError(f"Incompatible shapes for attention inputs: {shapes}; xformers broadcasts nothing, use expand")
    if len({x.dtype for x in (query, key, value)}) > 1:
        raise ValueError(f"Query/Key/Value should all have the same dtype: {query.dtype}, {key.dtype}, {value.dtype}")
    tensor = bias_tensor(bias)
    expected = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
    if tensor is not None and query.dim() == 4 and tuple(tensor.shape) != expected:
        raise ValueError(f"Invalid shape for attention bias: {tuple(tensor.shape)} (expected {expected})")
    if isinstance(bias, BlockDiagonalMask) and query.shape[0] != 1:
        raise ValueError(f"Expected batch_size=1 when using block-diagonal bias: {shapes}")
