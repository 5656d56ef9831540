"""`F.scaled_dot_product_attention` as the machine would run it.

Without a GPU, torch takes the math path, which bills s² to a model that runs flash. So the call is caught, the backend
chosen by the machine's rules, and the ATen operator of that backend called, with what the C++ wrapper does around it
(aten/src/ATen/native/transformers/attention.cpp, scaled_dot_product_attention).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from graphmem._torch import DisableTorchFunction, sdpa_priority_order
from graphmem.errors import ModelError
from graphmem.kernels.registry import outputs_on_cpu, replaces
from graphmem.kernels.sdpa.choice import choose
from graphmem.kernels.sdpa.facts import facts_of
from graphmem.machine import Machine
from graphmem.record import MARK, SdpaCall, SdpaFacts, Trace

_aten = torch.ops.aten
_ORIGINAL = F.scaled_dot_product_attention
_CPU_FLASH = _aten._scaled_dot_product_flash_attention_for_cpu.default

# Seed and offset, outside graph capture (aten/src/ATen/native/transformers/cuda/attention.cu; the H100 measurements
# agree).
outputs_on_cpu(_aten._scaled_dot_product_efficient_attention.default, 2, 3)

# pad_last_dim<8> for flash, pad_bias<8> (mem_eff_alignment) for the efficient kernel's mask
_ALIGNMENT = 8


@replaces(F.scaled_dot_product_attention, on="cuda")
def attention_as_on(machine: Machine, trace: Trace) -> Callable[..., torch.Tensor]:
    """scaled_dot_product_attention with `machine`'s backend; every call is noted in `trace`."""

    unset = tuple(sdpa_priority_order())

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        start = len(trace.ops)
        query, key, value, attn_mask = _autocast(query, key, value, attn_mask)
        with torch.autocast("cuda", enabled=False):
            _validate(query, key, value, attn_mask)
            facts = facts_of(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa, machine, unset)
            backend, refused = _chosen(facts, machine)
            call = _Call(query, key, value, _float_mask(attn_mask, query.dtype), dropout_p, is_causal, scale)
            out = call.run(backend, needs_lse=facts.requires_grad, enable_gqa=enable_gqa)
        operands = tuple(getattr(t, MARK, None) for t in (query, key, value, attn_mask))
        trace.sdpa.append(SdpaCall(start, len(trace.ops), backend, refused, facts, operands))
        return out

    return attend


def _chosen(facts: SdpaFacts, machine: Machine) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The backend that runs, and why each one before it does not.

    Raises:
        ModelError: none is left.
    """
    backend, refused = choose(facts, machine)
    if backend is None:
        raise ModelError(
            "no backend of scaled_dot_product_attention is left: "
            + "; ".join(f"{name}: {why}" for name, why in refused),
            hint="allow another one in sdpa_kernel(...), or the math backend",
        )
    return backend, refused


@dataclass(frozen=True)
class _Call:
    """The arguments that every backend gets; the mask is None or in floats."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    dropout: float
    causal: bool
    scale: float | None

    def run(self, backend: str, *, needs_lse: bool, enable_gqa: bool) -> torch.Tensor:
        """The operator of `backend`, as attention.cpp calls it."""
        if backend == "flash":
            return _flash(self.query, self.key, self.value, self.dropout, self.causal, self.scale)
        qkv, rest, scale = (self.query, self.key, self.value), (self.dropout, self.causal), {"scale": self.scale}
        if backend == "cudnn":
            outs = _aten._scaled_dot_product_cudnn_attention(*qkv, self.mask, needs_lse, *rest, False, **scale)
        elif backend == "efficient":
            mask = _aligned(self.mask, self.query, self.key)
            outs = _aten._scaled_dot_product_efficient_attention(*qkv, mask, needs_lse, *rest, **scale)
        else:
            outs = _aten._scaled_dot_product_attention_math(
                *qkv, self.mask, *rest, None, **scale, enable_gqa=enable_gqa
            )
        out: torch.Tensor = outs[0]
        return out


@replaces(F.scaled_dot_product_attention, on="cpu")
def attention_on_cpu(_machine: Machine, trace: Trace) -> Callable[..., torch.Tensor]:
    """scaled_dot_product_attention itself; every call is noted in `trace`."""

    def attend(*args: Any, **kwargs: Any) -> torch.Tensor:
        start = len(trace.ops)
        with DisableTorchFunction():  # or the mode that replaces the function would see it again
            out: torch.Tensor = _ORIGINAL(*args, **kwargs)
        fused = any(op.target is _CPU_FLASH for op in trace.ops[start:])
        trace.sdpa.append(SdpaCall(start, len(trace.ops), "flash_for_cpu" if fused else "math", (), None))
        return out

    return attend


def _validate(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> None:
    """validate_sdpa_input in attention.cpp: what every backend refuses."""
    dtypes = [str(t.dtype).removeprefix("torch.") for t in (q, k, v)]
    if len(set(dtypes)) > 1:
        raise RuntimeError(f"scaled_dot_product_attention takes one dtype, and got q, k, v in {', '.join(dtypes)}")
    if mask is not None and mask.dtype not in (torch.bool, torch.float32, q.dtype):
        raise RuntimeError(f"scaled_dot_product_attention takes a mask in bool, float or {dtypes[0]}, not {mask.dtype}")
    if q.dim() >= 4 and 0 in (q.shape[-3], k.shape[-3]):
        # With enable_gqa torch divides by the number of key heads, and 0 ends the process.
        raise RuntimeError("scaled_dot_product_attention without heads")


def _autocast(*tensors: torch.Tensor | None) -> list[Any]:
    """SDPA is on autocast's lower_precision_fp list (aten/src/ATen/autocast_mode.h): floating tensors but doubles."""
    if not torch.is_autocast_enabled("cuda"):
        return list(tensors)
    dtype = torch.get_autocast_dtype("cuda")
    eligible = (torch.float32, torch.float16, torch.bfloat16)
    return [t.to(dtype) if t is not None and t.dtype in eligible else t for t in tensors]


def _float_mask(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """convert_boolean_attn_mask: every call makes its own float copy of a boolean mask."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    zero = torch.zeros((), dtype=dtype, device=mask.device)
    return torch.where(mask, zero, torch.full((), -math.inf, dtype=dtype, device=mask.device))


def _aligned(mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
    """preprocess_mask: rows that do not start at a multiple of 8 elements are padded; then (b, heads, s_q, s_k)."""
    if mask is None:
        return None
    b, heads, s_q, s_k = query.shape[0], query.shape[1], query.shape[2], key.shape[2]
    aligned = mask.stride(-1) == 1 and all(stride % _ALIGNMENT == 0 for stride in mask.stride()[:-1])
    if not aligned:  # aligned_tensor asks for the strides, pad_bias pads the size
        size = mask.shape[-1]
        mask = F.pad(mask, [0, _ALIGNMENT - size % _ALIGNMENT])[..., :size]
    expanded = mask.expand(b, heads, s_q, s_k)
    if expanded.stride(-1) != 1 and s_k > 1:  # _efficient_attention_forward in attention.cu: a real run raises, too
        raise ModelError(
            f"the efficient kernel of scaled_dot_product_attention raises: attn_mask of shape {list(mask.shape)} is "
            "not contiguous in its last dimension once it is expanded",
            hint="give it all s_k columns: mask.expand(..., s_k).contiguous()",
        )
    return expanded


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout: float,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """Head sizes are padded to a multiple of 8; the scale is that of the size before."""
    size = query.shape[-1]
    rest = size % _ALIGNMENT
    if rest:
        scale = 1 / math.sqrt(size) if scale is None else scale
        query, key, value = (F.pad(t, [0, _ALIGNMENT - rest]) for t in (query, key, value))
    out: torch.Tensor = _aten._scaled_dot_product_flash_attention(
        query, key, value, dropout, causal, False, scale=scale
    )[0]
    return out[..., :size] if rest else out
