"""What the choice of a backend depends on, read off the arguments of a call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from graphmem.kernels.sdpa.order import disabled, order
from graphmem.machine import Machine

Shape = tuple[int, ...]

# The kernels read 16 bytes at a time: minimum_gemm_alignment on sm80 and later is 128 bits.
_ALIGNED_BYTES = 16


@dataclass(frozen=True)
class SdpaFacts:
    """One call.

    q, k, v: shapes, (b, heads, s, head size). dtypes: theirs.
    mask: "none", "bool" or "float"; mask_shape: its own shape, () for none; mask_requires_grad: a learned bias.
    mask_broadcasts: two or four dimensions, each of them 1 or what it must be (what cuDNN takes).
    requires_grad: q, k or v do, and gradients are on. last_stride_1: q, k and v are contiguous in the head size;
    mask_last_stride_1: the mask is in s_k. offsets_aligned: q, k and v start at multiples of 16 bytes.
    order: the backends as torch would try them; usual_order: the model has set none. disabled: those that sdpa_kernel
    or torch.backends.cuda switched off.
    """

    q: Shape
    k: Shape
    v: Shape
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype]
    mask: str = "none"
    mask_shape: Shape = ()
    mask_requires_grad: bool = False
    mask_broadcasts: bool = True
    dropout: float = 0.0
    causal: bool = False
    gqa: bool = False
    requires_grad: bool = True
    last_stride_1: bool = True
    mask_last_stride_1: bool = True
    offsets_aligned: bool = True
    deterministic: bool = False
    usual_order: bool = True
    order: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()

    @property
    def head(self) -> int:
        return self.q[-1]

    @property
    def half(self) -> bool:
        return self.dtypes[0] in (torch.float16, torch.bfloat16)


def four_dims(shape: Sequence[Any]) -> tuple[Any, ...]:
    """A shape, in numbers or in expressions, as (b, heads, s, head size): what comes before the heads is one."""
    missing = 4 - len(shape)
    return (1,) * missing + tuple(shape) if missing >= 0 else (math.prod(shape[:-3]), *shape[-3:])


def facts_of(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    causal: bool,
    gqa: bool,
    machine: Machine,
    unset: tuple[int, ...],
) -> SdpaFacts:
    """The facts of a call. `unset`: torch's order of backends where no code of the model's has set one."""
    qkv = (q, k, v)
    return SdpaFacts(
        q=tuple(q.shape),
        k=tuple(k.shape),
        v=tuple(v.shape),
        dtypes=(q.dtype, k.dtype, v.dtype),
        mask="none" if mask is None else "bool" if mask.dtype == torch.bool else "float",
        mask_shape=() if mask is None else tuple(mask.shape),
        mask_requires_grad=mask is not None and mask.requires_grad,
        mask_broadcasts=mask is None or _broadcasts(tuple(mask.shape), q, k),
        dropout=dropout,
        causal=causal,
        gqa=gqa,
        # input_requires_grad and should_compute_logsumexp: the mask's gradient is not asked for
        requires_grad=torch.is_grad_enabled() and any(t.requires_grad for t in qkv),
        last_stride_1=all(t.stride(-1) == 1 for t in qkv),
        mask_last_stride_1=mask is None or mask.stride(-1) == 1,
        offsets_aligned=all(int(t.storage_offset()) * t.element_size() % _ALIGNED_BYTES == 0 for t in qkv),
        deterministic=torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled(),
        usual_order=tuple(torch._C._get_sdp_priority_order()) == unset,
        order=order(machine, unset),
        disabled=disabled(),
    )


def _broadcasts(shape: Shape, q: torch.Tensor, k: torch.Tensor) -> bool:
    """check_attn_mask_shape in sdp_utils_cpp.h, without its question for a gradient."""
    if q.dim() != 4 or len(shape) not in (2, 4):
        return False
    full = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])[-len(shape) :]
    return all(mine in (1, wanted) for mine, wanted in zip(shape, full, strict=True))
