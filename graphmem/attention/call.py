"""Attention that is written out, as the call of scaled_dot_product_attention that could stand there."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch.nn.attention import SDPBackend

from graphmem.kernels.sdpa.order import disabled, order
from graphmem.machine import Machine
from graphmem.record import SdpaFacts, TensorFact

BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


def facts_of_call(
    qkv: Sequence[tuple[int, ...]],
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype],
    masks: Sequence[TensorFact],
    mask_shape: tuple[int, ...],
    *,
    learned: bool,
    dropout: float,
    machine: Machine,
) -> SdpaFacts:
    """What the choice of a kernel would depend on.

    Args:
        qkv: three shapes of four dimensions.
        masks: what is done to the scores and would be attn_mask, added up where there are several; mask_shape: its
            shape. learned: a gradient goes through it.
    """
    q, k, v = qkv
    return SdpaFacts(
        q=q,
        k=k,
        v=v,
        dtypes=dtypes,
        mask=mask_kind(masks),
        mask_shape=mask_shape,
        mask_requires_grad=learned,
        mask_last_stride_1=is_laid_out(masks),
        dropout=dropout,
        order=order(machine, tuple(torch._C._get_sdp_priority_order())),
        disabled=disabled(),
    )


def mask_kind(masks: Sequence[TensorFact]) -> str:
    """ "none", "bool" or "float", of masks added up."""
    if not masks:
        return "none"
    return "bool" if all(fact.dtype == torch.bool for fact in masks) else "float"


def is_laid_out(masks: Sequence[TensorFact]) -> bool:
    """Whether attn_mask is contiguous in its last dimension; a sum is laid out as its parts are."""
    if not masks:
        return True
    made = (torch.empty_strided(m.shape, m.stride, dtype=m.dtype, device="meta") for m in masks)
    return functools.reduce(torch.add, made).stride(-1) == 1
