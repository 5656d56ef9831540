"""Kernels of the CPU that return contiguous tensors, whatever the strides of what they are given.

The layout decides whether the next reshape copies, and with it what is kept.
"""

from __future__ import annotations

from typing import Any

import torch

from graphmem.kernels.registry import corrects

_aten = torch.ops.aten


@corrects(_aten.log_sigmoid_forward.default, _aten._weight_norm_interface.default, on="cpu")
def contiguous_on_cpu(_args: tuple[Any, ...], result: Any) -> Any:
    """All results (log_sigmoid in aten/src/ATen/native/Activation.cpp, WeightNorm.cpp); the fake ones have the input's
    strides."""
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in result)
