"""`torch._grouped_mm`, in float32 and float16, too."""

from __future__ import annotations

from typing import Any

import torch

from graphmem.kernels.registry import result_of

_aten = torch.ops.aten
_ROW_BYTES = 16  # create_grouped_gemm_output_tensor in aten/src/ATen/native/GroupedMMUtils.h (torch 2.11)


@result_of(_aten._grouped_mm.default)
def grouped_mm(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """CUDA and CPU run float32 and float16 one group after the other (aten/src/ATen/native/cuda/GroupedBlas.cpp, and
    native/GroupedMMUtils.h), the fake kernel takes bf16 alone. Rows start at multiples of 16 bytes; the fake kernel of
    a CPU-only build leaves that out."""
    left, right, *rest = args
    shape = _aten._grouped_mm.default(left.bfloat16(), right.bfloat16(), *rest, **kwargs).shape
    step = _ROW_BYTES // left.dtype.itemsize
    row = -(-shape[-1] // step) * step
    strides = (row, 1) if len(shape) == 2 else (shape[1] * row, row, 1)
    result: torch.Tensor = left.new_empty_strided(shape, strides)
    return result
