"""The tensors in whatever forward returns: nested containers, and objects with attributes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

_NOTHING_INSIDE = (
    str, bytes, int, float, complex, type(None), type, nn.Module, ModuleType, FunctionType, MethodType, torch.dtype,
    torch.device,
)  # fmt: skip
_SEQUENCES = (list, tuple, set, frozenset, deque)
_MOST = 100_000  # parts that are looked at: an object may lead to anything


def output_tensors(output: Any) -> list[torch.Tensor]:
    """Every tensor in an output, in order, each object looked at once: an output may hold itself."""
    found: list[torch.Tensor] = []
    seen: dict[int, Any] = {}
    open_ = [output]
    while open_ and len(seen) < _MOST:
        value = open_.pop()
        if isinstance(value, _NOTHING_INSIDE):
            continue
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif id(value) not in seen:
            seen[id(value)] = value
            open_ += reversed(list(_parts(value)))
    return found


def _parts(value: Any) -> Iterable[Any]:
    """What is in a value. An object's attributes are read from where they are: it may answer anything to a question."""
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, _SEQUENCES):
        return value
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        attributes = {}
    slots = [_slot(value, name) for cls in type(value).__mro__ for name in _names(vars(cls).get("__slots__", ()))]
    return [*slots, *(attributes.values() if isinstance(attributes, dict) else ())]


def named_parts(output: Any) -> list[tuple[str, Any]]:
    """The parts of an output that has a loss, each with its name."""
    if isinstance(output, Mapping):
        return [(str(name), part) for name, part in output.items()]
    return list(getattr(output, "__dict__", {}).items())


def _names(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


def _slot(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:  # not assigned
        return None


def loss_of(output: Any) -> torch.Tensor | None:
    """The output's `loss`, if that is a tensor."""
    found = output.get("loss") if isinstance(output, Mapping) else _attribute(output, "loss")
    return found if isinstance(found, torch.Tensor) else None


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # a property, or a __getattr__, of the user's
        return None
