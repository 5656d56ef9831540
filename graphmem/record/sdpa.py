"""`SdpaFacts`: what the choice of a kernel for one F.scaled_dot_product_attention depends on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

Shape = tuple[int, ...]


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
