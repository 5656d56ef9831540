"""LayerNorm and GroupNorm on the CPU, whose statistics have another dtype than the fake kernel says."""

from __future__ import annotations

from typing import Any

import torch

from graphmem.kernels.registry import corrects

_aten = torch.ops.aten
_HALF = (torch.bfloat16, torch.float16)


@corrects(_aten.native_layer_norm.default, _aten.native_group_norm.default, on="cpu")
def norm_on_cpu(args: tuple[Any, ...], result: Any) -> Any:
    """(output, mean, inverse deviation). The last two are float32 where a half-precision input meets float32 weights
    (is_mixed_type and param_scalar_type in aten/src/ATen/native/cpu/mixed_data_type.h); the fake ones have the input's
    dtype."""
    output, *statistics = result
    others = [a for a in args[1:] if isinstance(a, torch.Tensor)]
    if args[0].dtype not in _HALF or all(a.dtype in _HALF for a in others):
        return result
    return (output, *(torch.empty_like(t, dtype=torch.float32) for t in statistics))
