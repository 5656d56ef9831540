"""Operators whose fake kernels refuse what really runs, or decide by the build: results as the devices make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from graphmem.kernels.ctc import kept_by_ctc

_aten = torch.ops.aten


def _grouped_mm(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """CUDA and CPU run float32 and float16 one group after the other (aten/src/ATen/native/cuda/GroupedBlas.cpp, and
    native/GroupedMMUtils.h), the fake kernel takes bf16 alone. Rows start at multiples of 16 bytes
    (create_grouped_gemm_output_tensor); the fake kernel of a CPU-only build leaves that out."""
    left, right, *rest = args
    shape = _aten._grouped_mm.default(left.bfloat16(), right.bfloat16(), *rest, **kwargs).shape
    step = 16 // left.dtype.itemsize
    row = -(-shape[-1] // step) * step
    strides = (row, 1) if len(shape) == 2 else (shape[1] * row, row, 1)
    result: torch.Tensor = left.new_empty_strided(shape, strides)
    return result


RESULTS: dict[Any, Callable[[tuple[Any, ...], dict[str, Any]], Any]] = {
    _aten._grouped_mm.default: _grouped_mm,
    _aten._ctc_loss.default: kept_by_ctc,
}
