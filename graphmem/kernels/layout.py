"""Results that a real CPU kernel makes differently from its fake one: in another layout or another dtype.

The layout decides whether the next reshape copies, and with it what is kept. Each entry is a function from the
operator's arguments and the fake result to the result as the CPU makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._prims_common import suggest_memory_format

_aten = torch.ops.aten
_HALF = (torch.bfloat16, torch.float16)


def _batch_norm(args: tuple[Any, ...], result: Any) -> Any:
    """The output is contiguous in the input's suggested memory format; the fake one has the input's strides
    (batch_norm_cpu in aten/src/ATen/native/Normalization.cpp)."""
    output, *statistics = _norm(args, result)
    return (torch.empty_like(output, memory_format=suggest_memory_format(args[0])), *statistics)


def _norm(args: tuple[Any, ...], result: Any) -> Any:
    """Mean and inverse deviation are float32 where a half-precision input meets float32 weights (is_mixed_type and
    param_scalar_type in aten/src/ATen/native/cpu/mixed_data_type.h); the fake ones have the input's dtype."""
    output, *statistics = result
    others = [a for a in args[1:] if isinstance(a, torch.Tensor)]
    if args[0].dtype not in _HALF or all(a.dtype in _HALF for a in others):
        return result
    return (output, *(torch.empty_like(t, dtype=torch.float32) for t in statistics))


def _contiguous(_args: tuple[Any, ...], result: Any) -> Any:
    """All results are contiguous whatever the input's strides (log_sigmoid in Activation.cpp, WeightNorm.cpp)."""
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in result)


ON_CPU: dict[Any, Callable[[tuple[Any, ...], Any], Any]] = {
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_group_norm.default: _norm,
    _aten.native_layer_norm.default: _norm,
    _aten.log_sigmoid_forward.default: _contiguous,
    _aten._weight_norm_interface.default: _contiguous,
}
