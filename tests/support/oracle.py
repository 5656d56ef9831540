"""What autograd really keeps: one forward of a real module, every saved storage counted once. Nothing of graphmem's."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class _Holder:
    """Stands in the autograd graph for a saved tensor; it dies with the node that saved it.

    It owns the storage only: a tensor would own its grad_fn, and a node that saves its own result would never die.
    """

    __slots__ = ("__weakref__", "storage")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.storage = tensor.untyped_storage()


def real_saved(
    module: nn.Module,
    inputs: Any,
    loss: Callable[[Any], torch.Tensor] | None = None,
    between: Callable[[], object] | None = None,
) -> Counter[int]:
    """Run forward and count, by size in bytes, the storages that the graph behind the loss (or the outputs) keeps.

    Parameters, buffers, the tensors in `inputs` and what is on another device than theirs are left out. `between` is
    called while the graph is alive.
    """
    held: list[weakref.ref[_Holder]] = []

    def pack(tensor: torch.Tensor) -> _Holder:
        holder = _Holder(tensor)
        held.append(weakref.ref(holder))
        return holder

    def unpack(_holder: _Holder) -> torch.Tensor:
        raise AssertionError("there is no backward here")

    gc.freeze()  # what is there already cannot be this forward's garbage, and looking through it takes most of the time
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            kept = _forward(module, inputs, loss)
        gc.collect()
    finally:
        gc.unfreeze()
    before = {
        tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers(), *_tensors(inputs))
    }
    alive = [holder.storage for reference in held if (holder := reference()) is not None]
    device = next(iter(module.parameters())).device.type
    new = [storage for storage in alive if storage._cdata not in before and storage.device.type == device]
    # torch 2.11 keeps empty tensors where it checkpoints, 2.13 does not: nothing that could be counted in bytes.
    sizes = {storage._cdata: storage.nbytes() for storage in new if storage.nbytes()}
    if between is not None:
        between()
    del kept  # it had to live until here: the graph hangs on it
    return Counter(sizes.values())


def real_bytes(module: nn.Module, inputs: Any) -> int:
    """The bytes of all of them."""
    return sum(size * n for size, n in real_saved(module, inputs).items())


def _forward(module: nn.Module, inputs: Any, loss: Callable[[Any], torch.Tensor] | None) -> Any:
    if isinstance(inputs, dict):
        output = module(**inputs)
    else:
        output = module(*inputs) if isinstance(inputs, (tuple, list)) else module(inputs)
    if loss is not None:
        return loss(output)
    found = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    return output if found is None else found


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]
