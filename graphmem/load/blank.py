"""Build a model without its weights: large tensors are made on the meta device, small ones are real.

A constructor may ask for the values of small tensors (`torch.linspace(0, p, L)[i].item()`), and so may forward
(`if mask.all()`). Moves to a device are dropped: the trace decides where things are.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode

from graphmem._torch import device_constructors

_MOVES = (torch.Tensor.cuda, torch.Tensor.cpu, torch.Tensor.pin_memory)
# How torch.nn.init draws weights. On meta there is nothing to fill, but torch's own way there decomposes the draw and
# imports torch.compile for that, which takes as long as an analysis (torch/_refs/__init__.py, 2.13).
_FILLS = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.nn.init.normal_, torch.nn.init.uniform_)


class Blank(TorchFunctionMode):
    """Inside the block, tensors of more than `limit` elements are made on meta; with None everything is real."""

    LIMIT: ClassVar[int] = 2**16

    def __init__(self, limit: int | None = LIMIT) -> None:
        super().__init__()
        self._limit = limit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _MOVES:
            return args[0]
        if func in _FILLS and (filled := args[0] if args else kwargs["tensor"]).is_meta:
            return filled
        if func is torch.Tensor.to:
            return self._converted(args, kwargs)
        if func not in device_constructors() or func is torch.tensor or func is torch.as_tensor:
            if _names_cuda(kwargs.get("device")):
                kwargs.pop("device")
            return func(*args, **kwargs)
        asked = kwargs.pop("device", None)
        blank = func(*args, **{**kwargs, "generator": None} if "generator" in kwargs else kwargs, device="meta")
        if _is_meta(asked) or (self._limit is not None and blank.numel() > self._limit):
            return blank
        return func(*args, **kwargs, device="cpu")

    @staticmethod
    def _converted(args: Any, kwargs: dict[str, Any]) -> Any:
        """Tensor.to without the device: only the change of dtype or of memory format is made."""
        tensor, *rest = args
        dtype = kwargs.get("dtype") or next((a for a in rest if isinstance(a, torch.dtype)), None)
        other = kwargs.get("other") or next((a for a in rest if isinstance(a, torch.Tensor)), None)
        dtype = other.dtype if other is not None else dtype or tensor.dtype
        memory_format = kwargs.get("memory_format") or torch.preserve_format
        return torch.Tensor.to(tensor, dtype=dtype, copy=kwargs.get("copy", False), memory_format=memory_format)


def _names_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _is_meta(device: Any) -> bool:
    return device is not None and torch.device(device).type == "meta"
