"""Tensors that a constructor itself puts on a GPU: Module.to() does not move a plain one, so it is there."""

from __future__ import annotations

from typing import Any

import torch

_MARK = "graphmem_is_on_gpu"


def is_gpu(device: Any) -> bool:
    """Whether an argument `device` names a GPU: "cuda:0", a torch.device, or an index."""
    if isinstance(device, (str, torch.device)):
        return str(device).partition(":")[0] == "cuda"
    return isinstance(device, int) and not isinstance(device, bool)


def place(tensor: torch.Tensor) -> None:
    """Remember of `tensor`, which its maker has nowhere else, that it was meant for a GPU."""
    setattr(tensor, _MARK, True)


def is_placed(tensor: torch.Tensor) -> bool:
    """Whether `place` was called for it."""
    return hasattr(tensor, _MARK)
