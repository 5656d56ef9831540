"""Build a model without its weights: large tensors are made on the meta device, small ones are real.

A constructor may ask for the values of small tensors (`torch.linspace(0, p, L)[i].item()`), and so may forward
(`if mask.all()`). Moves to a device are dropped: the trace decides where things are. What the constructor puts on a GPU
is marked, since a tensor that is neither parameter nor buffer is there, and any other one stays on the CPU.

Whoever builds must not notice: a library that finds a weight on meta takes it for one that is loaded later, and leaves
out what it does to weights (peft does not cast its adapters). So where somebody asks, what is blank is on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode

from graphmem._torch import (
    DisableTorchFunction,
    StorageWeakRef,
    base_of,
    default_device,
    device_constructors,
    storage_id,
)
from graphmem.trace.placed import is_gpu, is_placed, place
from graphmem.usercode.interrupts import come

_MOVES: set[Any] = {torch.Tensor.cuda, torch.Tensor.cpu, torch.Tensor.pin_memory}
# How torch.nn.init draws weights. On meta there is nothing to fill, but torch's own way there decomposes the draw and
# imports torch.compile for that, which takes as long as an analysis (torch/_refs/__init__.py, 2.13).
_FILLS: set[Any] = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.nn.init.normal_, torch.nn.init.uniform_}
_DEVICE: Any = torch.Tensor.device.__get__
# What a blank tensor says of itself.
_SAYS: dict[Any, Callable[[torch.Tensor], Any]] = {
    _DEVICE: lambda _: torch.device("cpu"),
    torch.Tensor.is_meta.__get__: lambda _: False,  # type: ignore[attr-defined]
    torch.Tensor.is_cpu.__get__: lambda _: True,  # type: ignore[attr-defined]
    torch.Tensor.data_ptr: lambda t: storage_id(t.untyped_storage()) + t.storage_offset() * t.itemsize,
}
# How torch says that one tensor is on meta and another is not.
_MIXED = ("meta", "Expected all tensors to be on the same device")


class _Kind(Enum):
    """What a function of tensors does, as far as it matters here."""

    READS, SAYS, MOVES, FILLS, CONVERTS, MAKES, WRITES, RUNS = range(8)


_FOLLOWS = (_Kind.READS, _Kind.RUNS)  # what comes of a tensor on a GPU is there, too; what is written to stays


class Blank(TorchFunctionMode):
    """Inside the block, tensors of more than `limit` elements are made on meta; with None everything is real."""

    LIMIT: ClassVar[int] = 2**16

    def __init__(self, limit: int | None = LIMIT) -> None:
        super().__init__()
        self._limit = limit
        self._kinds: dict[Any, _Kind] = {}
        # What the user's code itself wants on meta says so. The references keep an identity from being used again.
        self._meant: dict[int, StorageWeakRef] = {}
        self._places = False  # whether anything was put on a GPU

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        come()
        kwargs = dict(kwargs or {})
        kind = self._kinds.get(func)
        if kind is None:
            kind = self._kinds[func] = _kind(func)
        if kind is _Kind.SAYS:
            return self._said(func, args[0])
        if kind is _Kind.MAKES:
            return self._made(func, args, kwargs)
        if kind is _Kind.MOVES:
            return self._moved(func, args[0])
        if kind is _Kind.FILLS and is_blank(args[0] if args else kwargs["tensor"]):
            return args[0] if args else kwargs["tensor"]
        if kind is _Kind.READS:
            result = func(*args, **kwargs)
        elif kind is _Kind.CONVERTS:
            result = self._converted(args, kwargs)
        else:
            result = self._run(func, args, kwargs, writes=kind is _Kind.WRITES)
        if self._meant and kind is not _Kind.READS and any(self._is_meant(t) for t in _tensors((args, kwargs))):
            self._mean(result)
        if self._places and kind in _FOLLOWS and any(map(is_placed, _tensors((args, kwargs)))):
            self._place(result)
        return result

    def _said(self, func: Any, tensor: torch.Tensor) -> Any:
        if func == _DEVICE and is_placed(tensor):
            return torch.device("cuda", 0)
        return _SAYS[func](tensor) if is_blank(tensor) and not self._is_meant(tensor) else func(tensor)

    def _moved(self, func: Any, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor`, or a copy of a plain one that was moved from where it is: that is marked, or no longer is."""
        to_gpu = func is torch.Tensor.cuda
        if func is torch.Tensor.pin_memory or is_placed(tensor) == to_gpu or tensor.requires_grad:
            return tensor
        moved = tensor.clone()
        if to_gpu:
            self._place(moved)
        return moved

    def _place(self, made: Any) -> None:
        self._places = True
        for tensor in _tensors(made):
            place(tensor)

    def _made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        asked = kwargs.pop("device", None)
        asked = default_device() if asked is None else asked
        blank = func(*args, **{**kwargs, "generator": None} if "generator" in kwargs else kwargs, device="meta")
        if _is_meta(asked):
            self._mean(blank)
            return blank
        large = self._limit is not None and blank.numel() > self._limit
        made = blank if large else func(*args, **kwargs, device="cpu")
        if is_gpu(asked):
            self._place(made)
        return made

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any], *, writes: bool) -> Any:
        """`func` where its tensors are, whatever device is asked for."""
        if kwargs.get("device") is not None:
            if _is_meta(kwargs["device"]):
                self._mean(result := func(*args, **kwargs))
                return result
            if is_gpu(kwargs.pop("device")):
                self._place(result := self._run(func, args, kwargs, writes=writes))
                return result
        if writes and _is_mixed((args, kwargs)):
            _forget_values(args[0])
        try:
            return func(*args, **kwargs)
        except (RuntimeError, NotImplementedError) as error:
            if not any(text in str(error) for text in _MIXED) or not _is_mixed((args, kwargs)):
                raise
        return func(*_on_meta(args), **_on_meta(kwargs))

    def _mean(self, made: Any) -> None:
        for tensor in _tensors(made):
            self._meant[storage_id(tensor.untyped_storage())] = StorageWeakRef(tensor.untyped_storage())

    def _is_meant(self, tensor: torch.Tensor) -> bool:
        return bool(self._meant) and storage_id(tensor.untyped_storage()) in self._meant

    def _converted(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """Tensor.to without the device, unless that is meta: only the dtype or the memory format changes."""
        tensor, *rest = args
        if any(map(_is_meta, (*rest[:1], kwargs.get("device")))):
            self._mean(result := torch.Tensor.to(*args, **kwargs))
            return result
        dtype = kwargs.get("dtype") or next((a for a in rest if isinstance(a, torch.dtype)), None)
        other = kwargs.get("other") or next((a for a in rest if isinstance(a, torch.Tensor)), None)
        dtype = other.dtype if other is not None else dtype or tensor.dtype
        memory_format = kwargs.get("memory_format") or torch.preserve_format
        made = torch.Tensor.to(tensor, dtype=dtype, copy=kwargs.get("copy", False), memory_format=memory_format)
        asked = kwargs.get("device", rest[0] if rest and not isinstance(rest[0], (torch.dtype, torch.Tensor)) else None)
        if asked is None:
            if is_placed(tensor):
                self._place(made)
            return made
        return self._moved(torch.Tensor.cuda if is_gpu(asked) else torch.Tensor.cpu, made)


def _kind(func: Any) -> _Kind:
    name = getattr(func, "__name__", "")
    if func in _SAYS:
        return _Kind.SAYS
    if name == "__get__":
        return _Kind.READS
    if func in _MOVES:
        return _Kind.MOVES
    if func in _FILLS:
        return _Kind.FILLS
    if func is torch.Tensor.to:
        return _Kind.CONVERTS
    if func in device_constructors() and func is not torch.tensor and func is not torch.as_tensor:
        return _Kind.MAKES
    changes_first = name == "__setitem__" or name.startswith("__i") or (name.endswith("_") and name[-2:] != "__")
    return _Kind.WRITES if changes_first else _Kind.RUNS


def is_blank(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no values, also while it says otherwise."""
    with DisableTorchFunction():
        return tensor.is_meta


def _is_meta(device: Any) -> bool:
    return str(device).partition(":")[0] == "meta" if isinstance(device, (str, torch.device)) else False


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _is_mixed(value: Any) -> bool:
    return len({is_blank(tensor) for tensor in _tensors(value)}) > 1


def _forget_values(tensor: torch.Tensor) -> None:
    """Put a small real tensor, and what it is a part of, on meta: something blank is going to be written into it."""
    if is_blank(tensor):
        return
    whole, layout = base_of(tensor), (tensor.size(), tensor.stride(), tensor.storage_offset())
    try:
        if whole is None:
            torch.utils.swap_tensors(tensor, torch.empty_like(tensor, device="meta"))
            return
        torch.utils.swap_tensors(tensor, torch.empty(0, device="meta"))  # the part holds the whole, which must be free
        torch.utils.swap_tensors(whole, torch.empty_like(whole, device="meta"))
        torch.utils.swap_tensors(tensor, whole.as_strided(*layout))
    except RuntimeError as error:
        raise RuntimeError(
            "a tensor without values is written into a small one that has some, and others are views of that"
        ) from error


def _on_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value if is_blank(value) else value.to("meta")
    if type(value) in (tuple, list):
        return type(value)(map(_on_meta, value))
    if type(value) is dict:
        return {key: _on_meta(part) for key, part in value.items()}
    return value
