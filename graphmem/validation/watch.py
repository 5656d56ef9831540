"""`Watch`: which storages autograd really keeps, in the order in which it packs them."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from graphmem.trace.frames import user_frames
from graphmem.trace.nodes import nodes_by_sequence
from graphmem.validation.predict import place_of


@dataclass(frozen=True)
class Seen:
    """A storage that autograd kept: its bytes, shape and dtype of the tensor that was packed, the autograd node that
    packed it and the file:line under way then."""

    nbytes: int
    shape: tuple[int, ...]
    dtype: str
    node: str
    where: str | None


@dataclass(frozen=True)
class Kept:
    """What was kept after one forward. saved: on the device, made by forward, in the order of packing. elsewhere:
    bytes on other devices. storages: weak references to those of `saved`."""

    saved: tuple[Seen, ...]
    elsewhere: int
    storages: tuple[StorageWeakRef, ...]


class Existing:
    """The storages of every tensor that Python knows of now: what was there before the first forward.

    Weak references hold no memory, but keep an address from being used again, so that it stays an identity.

    Args:
        earlier: what was found before, among objects that the collector has frozen since and does not list.
    """

    def __init__(self, earlier: Existing | None = None) -> None:
        self._weak: list[StorageWeakRef] = []
        self.ids: set[int] = set(earlier.ids) if earlier else set()
        for storage in _known_to_python():
            self._weak.append(StorageWeakRef(storage))
            self.ids.add(storage._cdata)


def _known_to_python() -> Iterator[torch.UntypedStorage]:
    """The storage of every tensor that the collector lists."""
    for value in gc.get_objects():
        if issubclass(type(value), torch.Tensor):
            with contextlib.suppress(Exception):  # subclasses without a storage of their own
                yield value.untyped_storage()


class Left:
    """The storages that steps made and that something still holds: a mask or the last probabilities in an attribute.

    Args:
        device: those there.
        steps: what autograd kept in each step so far; what is still there may be held by no tensor of Python.
        others: storages that do not count.
    """

    def __init__(self, device: str, steps: Sequence[Kept], others: set[int]) -> None:
        self._weak: list[StorageWeakRef] = []
        self._nbytes: dict[int, int] = {}
        self._once_saved = {weak.cdata for kept in steps for weak in kept.storages}
        for storage in _known_to_python():
            if storage.device.type == device and storage._cdata not in others:
                self._weak.append(StorageWeakRef(storage))
                self._nbytes[storage._cdata] = storage.nbytes()
        for kept in steps:
            for seen, weak in zip(kept.saved, kept.storages, strict=True):
                self._weak.append(weak)
                if not weak.expired() and weak.cdata not in others:
                    self._nbytes[weak.cdata] = seen.nbytes

    def part_of(self, now: Left, saved: Kept) -> tuple[int, ...]:
        """Sizes of those that the next step reuses or replaces; `now` is what that step leaves.

        It reuses what it saves without having made it, and it replaces what is gone after it. What stays and is not
        saved is a cache that it reads, with two exceptions. If more is left than before, it is a list that grows. If it
        was saved once, by the step that made it, then every later step saves one of its own.
        """
        again = {weak.cdata for weak in saved.storages}
        unused = self._once_saved if sum(self._nbytes.values()) == sum(now._nbytes.values()) else self._nbytes.keys()
        idle = (unused & now._nbytes.keys()) - again
        return tuple(size for cdata, size in self._nbytes.items() if cdata not in idle)


class _Holder:
    """Stands in the autograd graph for a saved tensor and dies with the node that saved it.

    It owns the storage only: a tensor would own its grad_fn, and a node that saves its own result would never die.
    """

    __slots__ = ("__weakref__", "facts", "flipped", "storage")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.storage = tensor.untyped_storage()
        self.facts = (tensor.dtype, tensor.device, tensor.storage_offset(), tensor.shape, tensor.stride())
        self.flipped = (tensor.requires_grad, tensor.is_conj(), tensor.is_neg())

    def tensor(self) -> torch.Tensor:
        """The tensor as it was packed, for backward."""
        dtype, device, offset, shape, stride = self.facts
        requires_grad, conjugate, negative = self.flipped
        made = torch.empty(0, dtype=dtype, device=device).set_(self.storage, offset, shape, stride)
        made = torch._neg_view(made) if negative else made
        made = made.conj() if conjugate else made
        return made.requires_grad_(requires_grad)  # reentrant checkpointing asks for it


class _Packed:
    __slots__ = ("holder", "sequence", "where")

    def __init__(self, holder: _Holder) -> None:
        self.holder = weakref.ref(holder)
        self.sequence = torch._C._autograd._get_sequence_nr() - 1  # of the node that packs: it was numbered just before
        self.where = next(iter(user_frames()[0]), None)


class Watch:
    """Saved-tensor hooks that remember what was packed: `with watch.hooks(): ...`, then `watch.kept(...)`."""

    def __init__(self) -> None:
        self._packed: list[_Packed] = []

    def hooks(self) -> Any:
        return torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    def kept(self, device: str, outputs: list[torch.Tensor], before: set[int]) -> Kept:
        """What is kept now. `outputs` hold the graph, `before` has the storages that do not count."""
        nodes = nodes_by_sequence(outputs)
        done = set(before)
        saved, weak, elsewhere = [], [], 0
        for packed in self._packed:
            holder = packed.holder()
            if holder is None or holder.storage._cdata in done or not holder.storage.nbytes():
                continue
            done.add(holder.storage._cdata)
            if holder.storage.device.type != device:
                elsewhere += holder.storage.nbytes()
                continue
            dtype, _, _, shape, _ = holder.facts
            node = nodes.get(packed.sequence, "an autograd node")
            name, where = str(dtype).removeprefix("torch."), place_of(packed.where)
            saved.append(Seen(holder.storage.nbytes(), tuple(shape), name, node, where))
            weak.append(StorageWeakRef(holder.storage))
        return Kept(tuple(saved), elsewhere, tuple(weak))

    def _pack(self, tensor: torch.Tensor) -> Any:
        if is_traceable_wrapper_subclass(tensor):  # its storages are those of the tensors within
            return tensor
        try:
            holder = _Holder(tensor)
        except (NotImplementedError, RuntimeError):  # sparse and other layouts without one storage
            return tensor
        self._packed.append(_Packed(holder))
        return holder

    @staticmethod
    def _unpack(held: Any) -> torch.Tensor:
        return held.tensor() if isinstance(held, _Holder) else held


def storages_of(tensors: Iterable[torch.Tensor]) -> set[int]:
    """The identities of the storages behind `tensors`."""
    found = set()
    for tensor in tensors:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            found.add(tensor.untyped_storage()._cdata)
    return found
