"""`xformers.ops.memory_efficient_attention`: flash-attn's kernels where they fit, else the cutlass ones of ATen."""

from __future__ import annotations

import torch
from torch import Tensor

from graphmem.attention.example import Examples
from graphmem.attention.fused import Fused, find_operators
from graphmem.attention.site import LSE, OUTPUT, RNG, Site
from graphmem.record.flow import Flow

_TABLE = {
    "xformers_flash.flash_fwd": Fused("xformers.flash", {0: OUTPUT, 1: LSE, 2: RNG}, "flash-attn's kernel fits"),
    "aten._efficient_attention_forward": Fused(
        "xformers.cutlass",
        {0: OUTPUT, 1: LSE, 2: RNG, 3: RNG},
        "not flash-attn's kernel, because of dtype, head size, bias or GPU, or because another one was asked for",
    ),
}


def find(flow: Flow) -> list[Site]:
    """One site per call."""
    return find_operators(flow, _TABLE)


# -- examples ----------------------------------------------------------------------------------------------------------


def _attend(q: Tensor, k: Tensor, v: Tensor, dtype: torch.dtype) -> Tensor:
    from xformers.ops import LowerTriangularMask, memory_efficient_attention

    q, k, v = (t.transpose(1, 2).to(dtype) for t in (q, k, v))
    return memory_efficient_attention(q, k, v, attn_bias=LowerTriangularMask())  # type: ignore[no-any-return]


GOOD: Examples = {
    "bf16": lambda q, k, v, w: _attend(q, k, v, torch.bfloat16),
    "float32": lambda q, k, v, w: _attend(q, k, v, torch.float32),
}
BAD: Examples = {"written out": lambda q, k, v, w: (q @ k.mT).softmax(-1) @ v}
