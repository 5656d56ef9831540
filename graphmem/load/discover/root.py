"""Which class of a file is the model: the one that no other uses as a part."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import nn

from graphmem.errors import TargetError
from graphmem.load.names import ROOT_CLASS
from graphmem.usercode.paths import file_of, shown

Made = Callable[..., Any]


def module_classes(module: ModuleType) -> dict[str, type[nn.Module]]:
    """The module classes that the file itself defines and that can be called: they have a forward."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__ == module.__name__
        and value.__name__ == name
        and _has_forward(value)
    }


def source_of(module: ModuleType) -> ast.Module:
    """The file as a syntax tree; an empty one where there is no source."""
    try:
        return ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return ast.parse("")


def line_of(module: ModuleType, name: str) -> str:
    """file:line of what the file defines under that name."""
    file = shown(file_of(module) or module.__name__)
    for node in source_of(module).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return f"{file}:{node.lineno}"
    return file


def root_class(module: ModuleType, target: str) -> tuple[type[nn.Module], list[str]]:
    """The class that is the whole model, and others that could have been meant.

    Raises:
        TargetError: there is none, or there are several that could be.
    """
    classes = module_classes(module)
    file = shown(file_of(module) or module.__name__)
    if not classes:
        raise TargetError(
            f"{target} has no model() and defines no torch.nn.Module with a forward",
            where=file,
            hint="name a file that defines the model, or write two functions whose parameters are the symbols:\n"
            "def model(h=768, a=12, L=12): ...    # -> nn.Module\n"
            "def inputs(b=8, s=1024): ...         # -> tuple or dict of tensors",
        )
    uses = _uses(module)
    inside = {name: _reached(name, uses) for name in classes}
    parts = {part for name in classes for part in inside[name]}
    tops = [name for name in classes if name not in parts] or list(classes)
    whole = [name for name in tops if inside[name] & _all_modules(module)] or tops
    named = [name for name in whole if ROOT_CLASS.search(name)]
    best = whole if len(whole) == 1 else named
    if len(best) != 1:
        equals = best or whole
        raise TargetError(
            f"{file} has {len(equals)} classes that could be the model: {', '.join(equals)}",
            where=file,
            hint="say which:\n" + "\n".join(f"graphmem analyze {target}:{name}" for name in equals),
        )
    return classes[best[0]], [name for name in whole if name != best[0]]


def _has_forward(cls: type[nn.Module]) -> bool:
    return cls.forward is not nn.Module.forward


def _all_modules(module: ModuleType) -> set[str]:
    return {k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, nn.Module)} - {"Module"}


def _uses(module: ModuleType) -> dict[str, set[str]]:
    """For each class and function at top level the names of others that stand in it."""
    nodes = {n.name: n for n in source_of(module).body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    return {
        name: {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in nodes} - {name}
        for name, node in nodes.items()
    }


def _reached(name: str, uses: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [name]
    while todo:
        new = uses.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found - {name}
