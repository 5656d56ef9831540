"""Depth: symbols that say how often a layer is repeated.

Such a symbol is not a size to probe. Two and three layers are traced, every kept tensor is counted in both, and the
counts are extended in a straight line. That is right as long as all layers are alike, which is checked on the model
itself, built at its full depth without weights: class, shapes and settings of each layer against the traced ones.
Layers of several kinds that take turns are counted by rounds: two and three of these are traced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from graphmem.errors import GraphmemError
from graphmem.load.names import counts_layers
from graphmem.points import Point
from graphmem.record.paths import is_within
from graphmem.symbolic.derive import SHALLOW
from graphmem.usercode.layers import LISTS

Build = Callable[[dict[str, int]], nn.Module]

# Kinds of layers take turns: a window in five of six.
_LONGEST = 8
# A shallow model is compared with one of at least so many layers: a kind may first come up beyond it.
_DEEP = 13


@dataclass(frozen=True, kw_only=True)
class Depth:
    """What counts layers.

    periods: symbols that repeat layers, each with its period: 1 if all layers are alike, 2 if two kinds take turns.
    deepest: up to how many layers, for those of them of which a deeper model has layers of another kind.
    unlike: symbols that count layers of many kinds.
    """

    periods: dict[str, int]
    deepest: dict[str, int]
    unlike: list[str]


def depth_of(build: Build, point: Point, names: list[str]) -> Depth:
    """Which of `names` count layers, and how."""
    periods, unlike = _periods(build, dict(point), names)
    return Depth(periods=periods, deepest=_deepest(build, dict(point), periods), unlike=unlike)


def _periods(build: Build, point: dict[str, int], names: list[str]) -> tuple[dict[str, int], list[str]]:
    """Symbols that repeat layers, each with its period; and those that count layers of many kinds.

    A symbol qualifies if a smaller value means fewer modules, and only module lists of such layers shrink.
    """
    found: dict[str, int] = {}
    unlike: list[str] = []
    shallow = dict(point)
    whole = build(dict(shallow))
    for name in sorted(names, key=lambda n: not counts_layers(n)):
        try:
            reduced = build({**shallow, name: SHALLOW})
            # A model no deeper than that is compared upwards: there is nothing to cut.
            full = whole if point[name] > SHALLOW else build({**shallow, name: 2 * SHALLOW})
        except GraphmemError:
            continue
        if _only_longer(full, reduced, _alike):
            found[name], shallow[name], whole = 1, SHALLOW, reduced
        elif _only_longer(full, reduced, _whatever):
            period = _period(build, shallow, name, full)
            if period is None:
                unlike.append(name)
                continue
            found[name], shallow[name] = period, SHALLOW * period
            whole = build(dict(shallow))
    return found, unlike


def _deepest(build: Build, point: dict[str, int], periods: dict[str, int]) -> dict[str, int]:
    """Of the symbols that repeat layers, those whose layers are not alike in a deeper model than that of `point`, and
    up to how many layers they are."""
    found: dict[str, int] = {}
    for name, period in periods.items():
        shallow = {**point, **{n: SHALLOW * p for n, p in periods.items()}}
        alike = _alike if period == 1 else _in_turns
        reduced = build(shallow if period == 1 else {**shallow, name: period})
        deepest = -(-_DEEP // period) * period
        if point[name] >= deepest or _is_longer(build, {**shallow, name: deepest}, reduced, alike):
            continue
        known = max(point[name], shallow[name])
        found[name] = known
        for layers in range(known + period, deepest, period):
            if not _is_longer(build, {**shallow, name: layers}, reduced, alike):
                break
            found[name] = layers
    return found


def _is_longer(
    build: Build,
    point: dict[str, int],
    reduced: nn.Module,
    alike: Callable[[list[nn.Module], list[nn.Module]], bool],
) -> bool:
    """Whether the model at `point` is `reduced` with more layers that are alike, or there is none at `point`."""
    try:
        return _only_longer(build(point), reduced, alike)
    except GraphmemError:  # the model refuses so many layers: that is its own limit
        return True


def _period(build: Build, point: dict[str, int], name: str, full: nn.Module) -> int | None:
    """How many layers `full` repeats as a group; None if there is no such group, or `full` is not whole groups."""
    for period in range(2, min(_LONGEST, point[name]) + 1):
        if point[name] % period == 0:
            try:
                reduced = build({**point, name: period})
                twice = full if point[name] >= 2 * period else build({**point, name: 2 * period})
            except GraphmemError:
                continue
            if _only_longer(twice, reduced, _in_turns):
                return period
    return None


def _only_longer(
    full: nn.Module, reduced: nn.Module, alike: Callable[[list[nn.Module], list[nn.Module]], bool]
) -> bool:
    """Whether `full` is `reduced` with more layers at the end of its module lists that are `alike` those there."""
    shrunk = False
    reduced_modules = dict(reduced.named_modules())
    grown: list[str] = []
    for path, module in full.named_modules():
        if any(path != g and is_within(path, g) for g in grown):
            continue
        twin = reduced_modules.get(path)
        if twin is None or _class(twin) != _class(module):
            return False
        if isinstance(module, LISTS) and len(module) != len(twin):
            if len(module) < len(twin) or not alike(list(module), list(twin)):
                return False
            grown.append(path)
            shrunk = True
        elif _own_shapes(module) != _own_shapes(twin):
            return False
    return shrunk


def _whatever(_layers: list[nn.Module], _traced: list[nn.Module]) -> bool:
    return True


def _alike(layers: list[nn.Module], traced: list[nn.Module]) -> bool:
    """Whether `layers` are `traced` and more of one kind: a first layer, or some, may be special."""
    if len(traced) < SHALLOW:
        return False
    rest, added = [_kind(layer) for layer in traced], []
    kinds = list(rest)
    for kind in (_kind(layer) for layer in layers):
        if kind in rest:
            rest.remove(kind)
        else:
            added.append(kind)
    return not rest and all(kind == added[0] for kind in added) and (not added or added[0] in kinds)


def _in_turns(layers: list[nn.Module], period: list[nn.Module]) -> bool:
    """Whether `layers` are `period` over and over."""
    kinds = [_kind(layer) for layer in period]
    if not kinds:
        return not layers
    return len(layers) % len(kinds) == 0 and all(
        _kind(layer) == kinds[i % len(kinds)] for i, layer in enumerate(layers)
    )


def _kind(layer: nn.Module | None) -> list[Any]:
    """What makes two layers run the same operators: classes, shapes and settings, but for the layer's own number. A
    ModuleList may have None where a layer could be: that runs nothing."""
    if layer is None:
        return []
    return [(path, _class(m), _own_shapes(m), _settings(m)) for path, m in layer.named_modules()]


def _class(module: nn.Module) -> str:
    """By name: a factory that defines a class defines a new one each time."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _own_shapes(module: nn.Module) -> list[Any]:
    own = [*module._parameters.items(), *module._buffers.items()]
    return [(name, tuple(t.shape), t.dtype) if _has_shape(t) else (name, None) for name, t in own]


def _has_shape(tensor: torch.Tensor | None) -> TypeGuard[torch.Tensor]:
    """One of a lazy module has none yet."""
    return tensor is not None and not is_lazy(tensor)


def _settings(module: nn.Module) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, (torch.Tensor, nn.Module)):
            continue
        if isinstance(value, float):
            kept[name] = value != 0  # a drop rate that grows with depth keeps the same tensors unless it is 0
        elif isinstance(value, (bool, str, type(None))) or (
            isinstance(value, int) and "layer" not in name and "idx" not in name and "index" not in name
        ):
            kept[name] = value
    return kept
