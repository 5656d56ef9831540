"""Which kernel runs attention: flash-attention where it can, else CUTLASS, as on an A100 or H100.

FlashAttention 3 comes before both where the package flash_attn_3 is installed; its output, lse and saved tensors have
the same sizes. Each function lists why its kernel cannot.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from xformers.ops.fmha import attn_bias as masks


class Inputs(NamedTuple):
    """q (b, s_q, a, d), k (b, s_k, a, d), v (b, s_k, a, d_v); with five dimensions (b, s, groups, a, d)."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_bias: Any
    p: float
    scale: float | None


class Kernel:
    """One implementation: `OP` names it where a user asks for one."""

    OP = ""


class Flash(Kernel):
    """flash-attention 2."""

    OP = "fa2"


class Cutlass(Kernel):
    """PyTorch's memory-efficient attention."""

    OP = "cutlass"


_FLASH_MASKS = (
    type(None),
    masks.LowerTriangularMask,
    masks.LowerTriangularFromBottomRightMask,
    masks.LowerTriangularFromBottomRightLocalAttentionMask,
    masks.LocalAttentionFromBottomRightMask,
    masks.BlockDiagonalMask,
    masks.BlockDiagonalCausalMask,
    masks.BlockDiagonalCausalFromBottomRightMask,
    masks.BlockDiagonalCausalLocalAttentionMask,
)
_CUTLASS_MASKS = (
    *(mask for mask in _FLASH_MASKS if mask is not masks.LocalAttentionFromBottomRightMask),
    Tensor,
    masks.LowerTriangularMaskWithTensorBias,
)
_NO_CUTLASS_BACKWARD = (
    masks.LowerTriangularFromBottomRightLocalAttentionMask,
    masks.LowerTriangularMaskWithTensorBias,
)


def flash_refuses(inp: Inputs, grad: bool) -> list[str]:
    """Why flash-attention cannot run this."""
    capability = torch.cuda.get_device_capability()
    bias = inp.attn_bias
    head_size = inp.query.shape[-1]
    reasons = _both_refuse(inp, grad)
    if capability < (8, 0):
        reasons.append(f"it needs compute capability 8.0 or later, not {capability}")
    if inp.query.dtype not in (torch.float16, torch.bfloat16):
        reasons.append(f"dtype {inp.query.dtype}")
    if head_size > 256 or head_size != inp.value.shape[-1]:
        reasons.append(f"head sizes {head_size} and {inp.value.shape[-1]}: they must be equal and at most 256")
    if _kind(bias) not in _FLASH_MASKS:
        reasons.append(f"a mask of type {type(bias).__name__}")
    if grad and inp.p and head_size > 224 and capability not in ((8, 0), (9, 0)):
        reasons.append("dropout with a head size above 224 needs an A100 or H100")
    reasons += _misaligned("query", inp.query, 8)
    if isinstance(bias, masks.BlockDiagonalCausalMask):
        if bias.k_seqinfo.seqstart_py != bias.q_seqinfo.seqstart_py:
            reasons.append("a causal mask for as many keys as queries only")
    elif isinstance(bias, masks.LowerTriangularMask) and inp.query.shape[1] != inp.key.shape[1]:
        reasons.append("a causal mask for as many keys as queries only")
    return reasons


def cutlass_refuses(inp: Inputs, grad: bool) -> list[str]:
    """Why CUTLASS cannot run this."""
    capability = torch.cuda.get_device_capability()
    bias = inp.attn_bias
    reasons = _both_refuse(inp, grad)
    if capability > (9, 0):
        reasons.append(f"it needs compute capability 9.0 or earlier, not {capability}")
    if inp.query.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        reasons.append(f"dtype {inp.query.dtype}")
    if _kind(bias) not in _CUTLASS_MASKS:
        reasons.append(f"a mask of type {type(bias).__name__}")
    if grad and isinstance(bias, _NO_CUTLASS_BACKWARD):
        reasons.append(f"no backward with a mask of type {type(bias).__name__}")
    half = inp.query.dtype != torch.float32
    alignment = (8 if half else 4) if capability >= (8, 0) else 8 if half and capability >= (7, 0) else 1
    for name, tensor in (("query", inp.query), ("key", inp.key), ("value", inp.value)):
        reasons += _misaligned(name, tensor, alignment) if grad or name != "key" else []
    tensor_bias = bias_tensor(bias)
    if tensor_bias is not None:
        step = 128 // torch.finfo(tensor_bias.dtype).bits
        if any(stride % step for stride in tensor_bias.stride()[:-1]):
            reasons.append(f"strides of attn_bias {tensor_bias.stride()} are not multiples of {step}")
    return reasons


def _both_refuse(inp: Inputs, grad: bool) -> list[str]:
    reasons = []
    if inp.query.device.type not in ("cuda", "meta"):
        reasons.append(f"device {inp.query.device.type}")
    if grad and inp.query.dim() == 5:
        reasons.append("no backward for five dimensions")
    return reasons


def _kind(bias: Any) -> type:
    return Tensor if isinstance(bias, Tensor) else type(bias)  # fake tensors are of a class of their own


def bias_tensor(bias: Any) -> Tensor | None:
    """The tensor in a mask, if there is one."""
    found = getattr(bias, "_bias", bias)
    return found if isinstance(found, Tensor) else None


def _misaligned(name: str, x: Tensor, alignment: int) -> list[str]:
    if x.shape[-1] % alignment or x.stride(-2) % alignment or x.stride(-1) > 1:
        return [f"{name} of shape {tuple(x.shape)} and strides {x.stride()} is not aligned to {alignment}"]
    return []


def choose(inp: Inputs, grad: bool, asked: Any = None) -> type[Kernel]:
    """The first kernel that can; `asked`: the one that the user named."""
    refusals = {}
    for kernel, refuses in ((Flash, flash_refuses), (Cutlass, cutlass_refuses)):
        if asked is None or asked is kernel:
            refusals[kernel.__name__] = refuses(inp, grad)
            if not refusals[kernel.__name__]:
                return kernel
    why = "; ".join(f"{name}: {', '.join(reasons)}" for name, reasons in refusals.items())
    raise (NotImplementedError if asked is None else ValueError)(
        f"No operator found for `memory_efficient_attention_forward`: {why}"
    )
