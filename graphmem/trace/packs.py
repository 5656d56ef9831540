"""`Packs`: what autograd packs, and what of it is still held.

A saved-tensor hook sees every tensor that an autograd node saves, and may hand the node something else to hold. Packs
hands it a `Holder`, which dies with the node. So what is saved after forward is what has a living holder.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from graphmem._torch import is_traceable_wrapper_subclass, neg_view, sequence_number

Note = TypeVar("Note")


class Holder:
    """What an autograd node holds in place of a tensor that it saved.

    It owns the storage and not the tensor: a tensor owns its grad_fn, and a node that saves its own result would then
    never die.
    """

    __slots__ = ("__weakref__", "_flipped", "device", "dtype", "offset", "shape", "storage", "stride")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.storage = tensor.untyped_storage()
        self.dtype, self.device, self.shape = tensor.dtype, tensor.device, tensor.shape
        self.stride, self.offset = tensor.stride(), tensor.storage_offset()
        self._flipped = tensor.requires_grad, tensor.is_conj(), tensor.is_neg()

    def tensor(self) -> torch.Tensor:
        """The tensor as it was packed, for backward."""
        requires_grad, conjugate, negative = self._flipped
        made = torch.empty(0, dtype=self.dtype, device=self.device)
        made = made.set_(self.storage, self.offset, self.shape, self.stride)
        made = neg_view(made) if negative else made
        made = made.conj() if conjugate else made
        return made.requires_grad_() if requires_grad else made  # reentrant checkpointing asks for it


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed(Generic[Note]):
    """A tensor was packed.

    sequence: the number of the node that packs. note: what the watcher noted at that moment.
    """

    holder: weakref.ref[Holder]
    sequence: int
    note: Note


class Packs(Generic[Note]):
    """Saved-tensor hooks that remember what was packed: `with packs.hooks(): ...`, then `packs.alive()`.

    Args:
        note: called with every tensor that is packed; what it returns stays with the entry.
        strict: a tensor without one storage (sparse, or a wrapper around others) is an error. Otherwise autograd holds
            the tensor itself, and it is not among what was packed.
    """

    def __init__(self, note: Callable[[torch.Tensor], Note], *, strict: bool) -> None:
        self._note, self._strict = note, strict
        self._packed: list[Packed[Note]] = []

    def hooks(self) -> Any:
        """The context in which autograd asks."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    def alive(self) -> Iterator[tuple[Packed[Note], Holder]]:
        """What a node still holds, in the order of packing."""
        for packed in self._packed:
            holder = packed.holder()
            if holder is not None:
                yield packed, holder

    def _pack(self, tensor: torch.Tensor) -> Any:
        if not self._strict and is_traceable_wrapper_subclass(tensor):
            return tensor
        try:
            holder = Holder(tensor)
        except (NotImplementedError, RuntimeError):
            if self._strict:
                raise
            return tensor
        # Autograd numbers a node when it makes it, just before the node packs, and then counts up.
        sequence = sequence_number() - 1
        self._packed.append(Packed(holder=weakref.ref(holder), sequence=sequence, note=self._note(tensor)))
        return holder

    @staticmethod
    def _unpack(held: Any) -> torch.Tensor:
        return held.tensor() if isinstance(held, Holder) else held
