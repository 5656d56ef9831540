"""The tensors that an object leads to: what it holds, and what that holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

_MOST = 10_000  # objects looked at
_IGNORED = (type, ModuleType, nn.Module, str, bytes, int, float, complex, torch.device, torch.dtype)


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor behind `value`, each once: in containers, attributes, and what functions have captured.

    Modules are not entered: what they hold is theirs.
    """
    seen: set[int] = set()
    todo = [value]
    while todo and len(seen) < _MOST:
        one = todo.pop()
        if one is None or id(one) in seen or isinstance(one, _IGNORED):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            yield one
        else:
            todo += _parts(one)


def _parts(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, (tuple, list, set, frozenset)):
        return list(one)
    if isinstance(one, partial):
        return [one.func, one.args, one.keywords]
    if isinstance(one, MethodType):
        return [one.__self__, one.__func__]
    if isinstance(one, FunctionType):
        return [cell.cell_contents for cell in one.__closure__ or () if _is_full(cell)] + [one.__defaults__]
    slots = [name for cls in type(one).__mro__ for name in _names(vars(cls).get("__slots__", ()))]
    return [*getattr(one, "__dict__", {}).values(), *(getattr(one, name, None) for name in slots)]


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
