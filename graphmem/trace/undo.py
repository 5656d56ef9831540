"""What forward does to a module and to all that it holds is undone: a cache that it fills, a list that it grows."""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

_CONTAINERS = (list, dict, set, OrderedDict, defaultdict, deque)
_NOTHING_INSIDE = (torch.Tensor, type, ModuleType, str, bytes, int, float, complex, type(None))
# Objects of these are no part of a model, and lead to what the whole process shares: a logger leads to all loggers.
_OTHERS = {*sys.stdlib_module_names, "torch"}


@contextmanager
def undone(modules: Sequence[nn.Module]) -> Iterator[None]:
    """After the block these modules, and every container and plain object that is reached from them, hold what they
    held before it."""
    before = list(_contents(modules))
    try:
        yield
    finally:
        for container, content in before:
            _refill(container, content)


def _contents(modules: Sequence[nn.Module]) -> Iterator[tuple[Any, Any]]:
    """Each container with a copy of it; that of an object is the dict of its attributes. The copies keep all of them
    alive, so that no id is used twice."""
    open_, seen = list[Any](modules), set[int]()
    while open_:
        value = open_.pop()
        if isinstance(value, _NOTHING_INSIDE) or id(value) in seen:
            continue
        seen.add(id(value))
        if type(value) is tuple:
            open_ += value
            continue
        container = value if type(value) in _CONTAINERS else _attributes(value)
        if container is None:
            continue
        content = container.copy()  # in one step, also where another thread writes into it
        open_ += content.values() if isinstance(content, dict) else content
        yield container, content


def _attributes(value: Any) -> dict[str, Any] | None:
    """The attributes of a module, or of an object of a class that the user's code or a library of models has."""
    cls = type(value)
    if not isinstance(value, (nn.Module, SimpleNamespace)) and cls.__module__.partition(".")[0] in _OTHERS:
        return None
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:  # its attributes are in slots
        return None
    return found if type(found) is dict else None


def _refill(container: Any, before: Any) -> None:
    if _is_as(container, before):
        return
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(before)
    else:
        container.update(before)


def _is_as(container: Any, before: Any) -> bool:
    """Whether nothing was put in, taken out or moved. Items of lists and dicts are compared by identity, since a
    comparison of tensors gives a tensor; a set does the same by itself, as tensors are equal there only to themselves.
    """
    if isinstance(container, set):
        return bool(container == before)
    if len(container) != len(before):
        return False
    if isinstance(container, dict):
        pairs = zip(container.items(), before.items(), strict=True)
        return all(a is b and v is w for (a, v), (b, w) in pairs)
    return all(a is b for a, b in zip(container, before, strict=True))
