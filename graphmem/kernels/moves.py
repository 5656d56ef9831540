"""Moves to a GPU without a number: `x.cuda()`, `x.to("cuda")`, `x.type(torch.cuda.FloatTensor)`.

torch asks the GPU's guard in C++ which one is meant, and a build for the CPU alone has none: `graphmem.machine.guard`
has put the CPU's in its place, which answers with itself. So the number is written in, as `torch.cuda.current_device`
says it during a trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

GPU = torch.device("cuda", 0)


def _to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    args = tuple(_numbered(arg) if i == 0 else arg for i, arg in enumerate(args))
    if "device" in kwargs:
        kwargs["device"] = _numbered(kwargs["device"])
    return torch.Tensor.to(tensor, *args, **kwargs)


def _cuda(tensor: torch.Tensor, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> torch.Tensor:
    return torch.Tensor.to(tensor, GPU if device is None else _numbered(device), non_blocking=non_blocking, **kwargs)


def _type(tensor: torch.Tensor, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Types of old: torch.cuda.FloatTensor and its name say both dtype and device."""
    name = dtype if isinstance(dtype, str) else f"{getattr(dtype, '__module__', '')}.{getattr(dtype, '__name__', '')}"
    kind = getattr(torch.cuda, name.removeprefix("torch.cuda."), None) if name.startswith("torch.cuda.") else None
    if kind is None:
        return torch.Tensor.type(tensor, dtype, *args, **kwargs)
    return torch.Tensor.to(tensor, GPU, kind.dtype)


def _numbered(device: Any) -> Any:
    """A GPU with its number; anything else as it is."""
    if type(device) is int:
        return torch.device("cuda", device)
    if isinstance(device, str) and device == "cuda":
        return GPU
    return GPU if isinstance(device, torch.device) and device.type == "cuda" and device.index is None else device


def _pinned(tensor: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
    """A copy that stays on the CPU."""
    return tensor.clone()


MOVES: dict[Any, Callable[..., Any]] = {
    torch.Tensor.to: _to,
    torch.Tensor.cuda: _cuda,
    torch.Tensor.type: _type,
    torch.Tensor.pin_memory: _pinned,
}
