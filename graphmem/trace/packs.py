"""`Packs`: what autograd packs, and what of it is still held.

A saved-tensor hook sees every tensor that an autograd node saves, and may hand the node something else to hold. Packs
hands it a `Holder`, which dies with the node. So what is saved after forward is what has a living holder.

A model may have such hooks of its own (save_on_cpu, or packing into fewer bits), and autograd asks only the innermost.
So what they return goes to the node in a `Passed`, which dies with the node, too, and what it leads to is saved.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import torch
import torch.utils.checkpoint

from graphmem._torch import (
    PUSH_HOOKS,
    DispatchMode,
    StorageWeakRef,
    is_traceable_wrapper_subclass,
    neg_view,
    sequence_number,
)
from graphmem.patches import patched
from graphmem.trace.reach import tensors_in

Note = TypeVar("Note")
Hook = Callable[[Any], Any]


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


class Passed:
    """What an autograd node holds where the model has hooks of its own: what its hook made of the tensor."""

    __slots__ = ("__weakref__", "made")

    def __init__(self, made: object) -> None:
        self.made = made


class Held(NamedTuple):
    """A storage that a node still holds, and the tensor as it was packed."""

    weak: StorageWeakRef
    nbytes: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: str

    @classmethod
    def of(cls, tensor: torch.Tensor | Holder) -> Held:
        storage = tensor.storage if isinstance(tensor, Holder) else tensor.untyped_storage()
        return cls(StorageWeakRef(storage), storage.nbytes(), tuple(tensor.shape), tensor.dtype, tensor.device.type)

    @property
    def identity(self) -> int:
        return int(self.weak.cdata)


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed(Generic[Note]):
    """A tensor was packed.

    sequence: the number of the node that packs. note: what the watcher noted at that moment. tensor, made: where the
    model's own hook packed it, what it was given, and what it made meanwhile.
    """

    holder: weakref.ref[Holder] | weakref.ref[Passed]
    sequence: int
    note: Note
    tensor: Held | None = None
    made: tuple[Held, ...] = ()


class Packs(Generic[Note]):
    """Saved-tensor hooks that remember what was packed: `with packs.hooks(): ...`, then `packs.alive()`.

    Args:
        note: called with every tensor that is packed; what it returns stays with the entry.
        strict: a tensor without one storage (sparse, or a wrapper around others) is an error. Otherwise autograd holds
            the tensor itself, and it is not among what was packed.

    packing: whether a hook of the model's own is at work. What it runs belongs to no node.
    """

    def __init__(self, note: Callable[[torch.Tensor], Note], *, strict: bool) -> None:
        self._note, self._strict = note, strict
        self._packed: list[Packed[Note]] = []
        self.packing = False

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """The context in which autograd asks."""
        owner, name = PUSH_HOOKS
        push = getattr(owner, name)
        with (
            torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack),
            patched(owner, name, lambda pack, unpack: push(*self._around(pack, unpack))),
        ):
            yield

    def alive(self) -> Iterator[tuple[Packed[Note], Held]]:
        """What a node still holds, in the order of packing."""
        for packed in self._packed:
            holder = packed.holder()
            if isinstance(holder, Holder):
                yield packed, Held.of(holder)
            elif holder is not None:
                yield from ((packed, held) for held in self._behind(packed, holder))

    def left(self) -> Iterator[tuple[Packed[Note], Held]]:
        """Tensors for which a hook of the model's own gave the node a mere name, though somebody may still hold them:
        the table in which the hook will look the name up, or anybody else."""
        for packed in self._packed:
            holder = packed.holder()
            if isinstance(holder, Passed) and packed.tensor is not None and not self._behind(packed, holder):
                yield packed, packed.tensor

    def _behind(self, packed: Packed[Note], passed: Passed) -> list[Held]:
        """What the model's own hook keeps for a node: what it returned, and what else it made that is still there."""
        found = {held.identity: held for held in _held_in(passed.made)}
        return [*found.values(), *(h for h in packed.made if h.identity not in found and not h.weak.expired())]

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

    def _around(self, pack: Hook, unpack: Hook) -> tuple[Hook, Hook]:
        """The model's own hooks, watched. A checkpoint's are torch's: what they pack is made again."""
        if getattr(pack, "__module__", "") == torch.utils.checkpoint.__name__:
            return pack, unpack
        return partial(self._passed, pack), lambda passed: unpack(passed.made)

    def _passed(self, pack: Hook, tensor: torch.Tensor) -> Passed:
        sequence, note = sequence_number() - 1, self._note(tensor)
        self.packing, before = True, self.packing
        try:
            with _Births() as births:
                passed = Passed(pack(tensor))
        finally:
            self.packing = before
        given, made = next(_held_in(tensor), None), tuple(births.found.values())
        self._packed.append(Packed(holder=weakref.ref(passed), sequence=sequence, note=note, tensor=given, made=made))
        return passed


class _Births(DispatchMode):
    """Notes the storages that operators make within the block. found: the last tensor seen of each."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, Held] = {}
        self._there: set[int] = set()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._there |= {held.identity for held in _held_in((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        self.found |= {held.identity: held for held in _held_in(result) if held.identity not in self._there}
        return result


def _held_in(value: object) -> Iterator[Held]:
    for tensor in tensors_in(value):
        with suppress(NotImplementedError, RuntimeError):  # one without one storage
            yield Held.of(tensor)
