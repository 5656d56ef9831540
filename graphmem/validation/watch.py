"""`Watch`: which storages autograd really keeps, in the order in which it packs them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from graphmem._torch import StorageWeakRef, storage_id
from graphmem.record import Place
from graphmem.trace.frames import Frames
from graphmem.trace.nodes import nodes_by_sequence
from graphmem.trace.packs import Held, Packed, Packs
from graphmem.usercode.garbage import objects
from graphmem.validation.predict import place_of


@dataclass(frozen=True)
class Observed:
    """A storage that autograd kept in a real run, as opposed to one that is `Expected`.

    nbytes: of the storage. shape, dtype: of the tensor that was packed. node: the autograd node that packed it.
    where: the file:line under way at that moment.
    """

    nbytes: int
    shape: tuple[int, ...]
    dtype: str
    node: str
    where: str | None


@dataclass(frozen=True)
class Stored:
    """What autograd holds after one forward.

    saved: on the device, made by forward, in the order of packing. elsewhere: bytes on other devices.
    storages: weak references to those of `saved`.
    """

    saved: tuple[Observed, ...]
    elsewhere: int
    storages: tuple[StorageWeakRef, ...]


class Existing:
    """The storages of every tensor that Python knows of now: what was there before the first forward.

    Weak references hold no memory, but keep an address from being used again, so that it stays an identity.

    Args:
        earlier: what was found before, among objects that are frozen since: the collector does not list them, and
            whatever else is frozen was known by then.
    """

    def __init__(self, earlier: Existing | None = None) -> None:
        self._weak: list[StorageWeakRef] = []
        self.ids: set[int] = set(earlier.ids) if earlier else set()
        for storage in _storages_among(gc.get_objects() if earlier else objects()):
            self._weak.append(StorageWeakRef(storage))
            self.ids.add(storage_id(storage))


def _storages_among(values: Iterable[Any]) -> Iterator[torch.UntypedStorage]:
    """The storage of every tensor among `values`."""
    for value in values:
        if issubclass(type(value), torch.Tensor):
            with contextlib.suppress(Exception):  # subclasses without a storage of their own
                yield value.untyped_storage()


class Left:
    """The storages that steps made and that something still holds: a mask or the last probabilities in an attribute.

    Args:
        device: those there.
        steps: what autograd kept in each step so far. It may still be there without a tensor in Python that holds it.
        others: storages that do not count.
    """

    def __init__(self, device: str, steps: Sequence[Stored], others: set[int]) -> None:
        self._weak: list[StorageWeakRef] = []
        self._nbytes: dict[int, int] = {}
        self._once_saved = {weak.cdata for stored in steps for weak in stored.storages}
        for storage in _storages_among(gc.get_objects()):
            if storage.device.type == device and storage_id(storage) not in others:
                self._weak.append(StorageWeakRef(storage))
                self._nbytes[storage_id(storage)] = storage.nbytes()
        for stored in steps:
            for observed, weak in zip(stored.saved, stored.storages, strict=True):
                self._weak.append(weak)
                if not weak.expired() and weak.cdata not in others:
                    self._nbytes[weak.cdata] = observed.nbytes

    def part_of(self, now: Left, saved: Stored) -> tuple[int, ...]:
        """Sizes of those that the next step reuses or replaces; `now` is what that step leaves.

        It reuses what it saves without having made it, and it replaces what is gone after it. What stays and is not
        saved is a cache that it reads, with two exceptions. If more is left than before, it is a list that grows. If it
        was saved once, by the step that made it, then every later step saves one of its own.
        """
        again = {weak.cdata for weak in saved.storages}
        unused = self._once_saved if sum(self._nbytes.values()) == sum(now._nbytes.values()) else self._nbytes.keys()
        idle = (unused & now._nbytes.keys()) - again
        return tuple(size for cdata, size in self._nbytes.items() if cdata not in idle)


class Watch:
    """Remembers what autograd packs: `with watch.hooks(): ...`, then `watch.stored(...)`.

    A tensor without one storage of its own (sparse, or a wrapper around others) does not count: autograd holds it.
    """

    def __init__(self) -> None:
        frames = Frames()
        self._packs = Packs(lambda _tensor: frames.innermost(), strict=False)

    def hooks(self) -> Any:
        """The context for forward."""
        return self._packs.hooks()

    def stored(self, device: str, outputs: list[torch.Tensor], before: set[int]) -> Stored:
        """What autograd holds now. `outputs`: what leads to the graph. `before`: the storages that do not count."""
        nodes = nodes_by_sequence(outputs)
        done = set(before)
        saved, weak, elsewhere = [], [], 0
        for packed, held in (*self._packs.alive(), *self._left(outputs)):
            if held.identity in done or not held.nbytes:
                continue
            done.add(held.identity)
            if held.device != device:
                elsewhere += held.nbytes
                continue
            node = nodes.get(packed.sequence, "an autograd node")
            dtype, where = str(held.dtype).removeprefix("torch."), place_of(packed.note)
            saved.append(Observed(held.nbytes, held.shape, dtype, node, where))
            weak.append(held.weak)
        return Stored(tuple(saved), elsewhere, tuple(weak))

    def _left(self, outputs: list[torch.Tensor]) -> Iterator[tuple[Packed[Place | None], Held]]:
        """What hooks of the model's own gave a name for, and still hold."""
        mine = storages_of(outputs)
        for packed, held in self._packs.left():
            if held.identity not in mine and not held.weak.expired():
                yield packed, held


def storages_of(tensors: Iterable[torch.Tensor]) -> set[int]:
    """The identities of the storages behind `tensors`."""
    found = set()
    for tensor in tensors:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            found.add(storage_id(tensor.untyped_storage()))
    return found
