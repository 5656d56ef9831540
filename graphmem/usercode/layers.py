"""What a list of layers is, and a finished module with fewer layers in its lists.

Four questions are asked of a module's lists, each stricter than the one before:
- may they hold layers at all (`LISTS`): the analysis of depth builds a model at two depths and compares what they hold;
- are the children layers (`is_layer_list`): a trace calls them by one label, layers.0-11;
- are they outermost (`outermost`): what is repeated within a layer is repeated with it;
- are they worth shortening (`layer_lists`): a formula can count them, and it pays.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from torch import nn

from graphmem.record.paths import is_within

LISTS = (nn.ModuleList, nn.Sequential)
# Shorter lists are traced as they are: nothing would be gained.
WORTH_SHORTENING = 5


def is_layer_list(module: nn.Module) -> bool:
    """Whether the children of `module` are layers: all of one class, or in a ModuleList of a few that repeat.

    Hybrids such as Jamba have a list of layers of two classes. A Sequential of several classes is a block of its own:
    Linear, GELU, Linear.
    """
    children = list(module.children())
    classes = len({type(child) for child in children})
    if isinstance(module, nn.ModuleList):
        return classes == 1 or 1 < classes < len(children)
    return isinstance(module, nn.Sequential) and classes == 1 and len(children) > 1


def outermost(paths: Iterable[str]) -> list[str]:
    """Those of `paths` that are not inside another one, in their order."""
    every = list(paths)
    return [path for path in every if not any(path != other and is_within(path, other) for other in every)]


def layer_lists(module: nn.Module) -> dict[str, str]:
    """Symbol -> path of each outermost list that is worth shortening: L, or L_encoder and L_decoder."""
    paths = outermost(path for path, m in module.named_modules() if _worth_shortening(m))
    if len(paths) == 1:
        return {"L": paths[0]}
    return {f"L_{path.replace('.', '_')}": path for path in paths}


def _worth_shortening(module: nn.Module) -> bool:
    """Whether `module` is a ModuleList of enough layers of one class.

    The first few of several classes may lack one of them. A Sequential stays whole: `shortened` makes ModuleLists.
    """
    if not isinstance(module, nn.ModuleList) or not is_layer_list(module):
        return False
    return len(module) >= WORTH_SHORTENING and len({type(layer) for layer in module}) == 1


def shortened(module: nn.Module, lengths: Mapping[str, int]) -> nn.Module:
    """A module that shares everything with `module` but has only the first layers of the lists at the paths given.

    Args:
        lengths: path of a ModuleList -> how many layers to keep; all of them where it has no more.
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
