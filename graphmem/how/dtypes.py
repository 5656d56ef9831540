"""Dtypes by the names that people use."""

from __future__ import annotations

import torch

from graphmem.errors import UsageError

_DTYPES = {
    "fp32": torch.float32, "float32": torch.float32, "fp16": torch.float16, "float16": torch.float16,
    "half": torch.float16, "bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "fp64": torch.float64,
    "float64": torch.float64,
}  # fmt: skip


def as_dtype(name: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype by the names people use: bf16, float16, torch.float32.

    Raises:
        UsageError: an unknown name, or a dtype that weights cannot have.
    """
    if name is None:
        return None
    found = _DTYPES.get(name.lower().removeprefix("torch.")) if isinstance(name, str) else name
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UsageError(f"unknown dtype {name!r}", hint="bf16, fp16, fp32 or fp64")
    return found


def as_autocast(name: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype that torch.autocast takes.

    Raises:
        UsageError: any other; torch would warn and switch autocast off.
    """
    dtype = as_dtype(name)
    if dtype not in (None, torch.bfloat16, torch.float16):
        raise UsageError(f"torch.autocast does not run in {name}", hint="bf16 or fp16")
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """``bfloat16``."""
    return str(dtype).removeprefix("torch.")
