"""What forward leaves in the module with a graph behind it: a list of losses, a cache that is never detached.

Backward frees what its nodes saved, and nothing frees these tensors: they are there in the next step, beside its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from graphmem.record import Left
from graphmem.record.paths import folded
from graphmem.trace.parts import LEAVES, attributes_of

_CONTAINERS = (list, tuple, set, frozenset, deque, Mapping)
_NOTHING_INSIDE = LEAVES - {torch.Tensor, nn.Parameter}
# What every module has: tables of its parameters, buffers, modules and hooks.
_TABLES = frozenset(vars(nn.Module()))
_DEEP, _MOST = 4, 10_000  # how deep it is looked for, and in containers of how many items


class Place(NamedTuple):
    """A container or a tensor of the module: the module's path, where it is within that, and the containers that hold
    it, the innermost first."""

    module: str
    name: str
    value: Any
    containers: tuple[Any, ...] = ()


def sizes(module: nn.Module) -> dict[int, int]:
    """The number of items of every container in the module, by id; they all live at least as long as forward."""
    return {id(place.value): len(place.value) for place in _places(module) if isinstance(place.value, _CONTAINERS)}


def left_behind(
    module: nn.Module, before: Mapping[int, int], returned: Collection[str]
) -> Iterator[tuple[Place, torch.Tensor, bool]]:
    """Every tensor with a graph that the module holds, and whether more of them come with each step: its container was
    there before, and has more items now.

    Args:
        before: `sizes` before forward. returned: attributes from which backward starts.
    """
    seen: set[int] = set()
    for place in _places(module):
        tensor = place.value
        if not isinstance(tensor, torch.Tensor) or tensor.grad_fn is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        grows = _grows(place, before)
        if grows or f"{place.module}.{place.name}".lstrip(".") not in returned:
            yield place, tensor, grows


def _grows(place: Place, before: Mapping[int, int]) -> bool:
    """Whether the innermost container that was there before forward has more items than then."""
    container = next((one for one in place.containers if id(one) in before), None)
    if container is None or (isinstance(container, deque) and container.maxlen is not None):
        return False
    return len(container) > before[id(container)]


def note_of(left: Collection[Left], containers: frozenset[str]) -> list[str]:
    """What the report says of what grows."""
    grows = [one for one in left if one.grows]
    if not grows:
        return []
    names = dict.fromkeys(f"{folded(one.module, containers)[0]}.{one.name}".lstrip(".") for one in grows)
    shown = ", ".join(list(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [
        f"forward adds tensors with a graph behind them to {shown}, which outlive backward: unless something empties "
        "that, every step leaves its own; put .detach() of them there"
    ]


def _places(module: nn.Module) -> Iterator[Place]:
    seen: set[int] = set()
    for path, m in module.named_modules():
        for name, value in list(vars(m).items()):
            if name not in _TABLES and type(value) not in _NOTHING_INSIDE:
                yield from _inside(Place(path, name, value), seen, _DEEP)


def _inside(place: Place, seen: set[int], deep: int) -> Iterator[Place]:
    value = place.value
    if isinstance(value, torch.Tensor):
        yield place
        return
    if not deep or isinstance(value, nn.Module) or id(value) in seen:
        return
    if isinstance(value, _CONTAINERS):
        seen.add(id(value))
        yield place
        if len(value) <= _MOST:
            parts = list(value.values() if isinstance(value, Mapping) else value)
            for part in [part for part in parts if type(part) not in _NOTHING_INSIDE]:
                yield from _inside(place._replace(value=part, containers=(value, *place.containers)), seen, deep - 1)
        return
    for name, part in list((attributes_of(value) or {}).items()):
        seen.add(id(value))
        if type(part) not in _NOTHING_INSIDE:
            yield from _inside(Place(place.module, f"{place.name}.{name}", part, place.containers), seen, deep - 1)
