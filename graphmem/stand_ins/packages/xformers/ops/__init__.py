"""xformers.ops: attention, SwiGLU and unbind."""

from xformers.ops.fmha import (
    AttentionBias,
    LowerTriangularMask,
    MemoryEfficientAttentionCutlassOp,
    MemoryEfficientAttentionFlashAttentionOp,
    memory_efficient_attention,
    memory_efficient_attention_forward,
)
from xformers.ops.swiglu_op import SwiGLU, swiglu
from xformers.ops.unbind import unbind

AttentionMask = AttentionBias
__all__ = [
    "AttentionBias",
    "AttentionMask",
    "LowerTriangularMask",
    "MemoryEfficientAttentionCutlassOp",
    "MemoryEfficientAttentionFlashAttentionOp",
    "SwiGLU",
    "memory_efficient_attention",
    "memory_efficient_attention_forward",
    "swiglu",
    "unbind",
]
