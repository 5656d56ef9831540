"""What the choice of a backend depends on, read off the arguments of a call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from graphmem._torch import sdpa_priority_order
from graphmem.kernels.sdpa.order import disabled, order
from graphmem.machine import Machine
from graphmem.record.sdpa import SdpaFacts, Shape

# The kernels read 16 bytes at a time: minimum_gemm_alignment on sm80 and later is 128 bits.
_ALIGNED_BYTES = 16


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
        usual_order=tuple(sdpa_priority_order()) == unset,
        order=order(machine, unset),
        disabled=disabled(),
    )


def _broadcasts(shape: Shape, q: torch.Tensor, k: torch.Tensor) -> bool:
    """check_attn_mask_shape in sdp_utils_cpp.h, without its question for a gradient."""
    if q.dim() != 4 or len(shape) not in (2, 4):
        return False
    full = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])[-len(shape) :]
    return all(mine in (1, wanted) for mine, wanted in zip(shape, full, strict=True))
