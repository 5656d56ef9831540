"""Depth of a finished module: the lists of layers that repeat, and the same module with fewer of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import nn

# Shorter lists are traced as they are: nothing would be gained.
WORTH_SHORTENING = 5


def layer_lists(module: nn.Module) -> dict[str, str]:
    """Symbol -> path of each outermost module list with layers of one class: L, or L_encoder and L_decoder."""
    paths: list[str] = []
    for path, m in module.named_modules():
        if any(path.startswith(f"{outer}.") for outer in paths):
            continue
        if isinstance(m, nn.ModuleList) and len(m) >= WORTH_SHORTENING and len({type(layer) for layer in m}) == 1:
            paths.append(path)
    if len(paths) == 1:
        return {"L": paths[0]}
    return {f"L_{path.replace('.', '_')}": path for path in paths}


def shortened(module: nn.Module, lengths: Mapping[str, int]) -> nn.Module:
    """A module that shares everything with `module` but has only the first layers of the lists at the paths given.

    Lists keep their layers where as many are asked for as there are.
    """
    for path, length in lengths.items():
        layers = module.get_submodule(path)
        assert isinstance(layers, nn.ModuleList)
        if length < len(layers):
            module = _with_child(module, path.split("."), nn.ModuleList(list(layers)[:length]))
    return module


def _with_child(module: nn.Module, path: list[str], child: nn.Module) -> nn.Module:
    """A shallow copy of `module` in which `path` leads to `child`; what is beside the path is shared."""
    twin = copy.copy(module)
    name, *rest = path
    old = module._modules[name]
    assert old is not None
    twin.__dict__["_modules"] = {**module._modules, name: _with_child(old, rest, child) if rest else child}
    return twin
