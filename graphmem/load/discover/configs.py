"""The config that a model takes: the one that its class or its file offers."""

from __future__ import annotations

import argparse
import inspect
import sys
import types
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import nn

from graphmem.errors import TargetError
from graphmem.load.discover.recipe import Recipe, Values, is_config, of_object
from graphmem.load.discover.root import line_of
from graphmem.load.names import CONFIG_CLASS, CONFIG_FUNCTIONS, LETTERS, NEEDED, value_for
from graphmem.usercode.callables import name_of
from graphmem.usercode.running import user_code


def config_class(annotation: Any, module: ModuleType) -> type | None:
    """The config class that an annotation names, also as Optional[...]."""
    options = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return next((o for o in options if isinstance(o, type) and is_config_class(o, module)), None)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def is_config_class(cls: type, module: ModuleType) -> bool:
    """Whether a class holds settings: a dataclass, or a class with such a name."""
    if issubclass(cls, (nn.Module, torch.Tensor)) or cls.__module__ in ("builtins", "typing", "argparse", "types"):
        return False
    return hasattr(cls, "__dataclass_fields__") or bool(CONFIG_CLASS.search(cls.__name__))


def config_for(name: str, function: Callable[..., Any], module: ModuleType, settings: Values) -> Recipe | type | None:
    """The config for a parameter of that name, or its class; None if the file offers none."""
    maker = next((getattr(function, n) for n in CONFIG_FUNCTIONS if hasattr(function, n)), None)
    if maker is not None:
        return _filled(of_object(_called(maker), f"{name_of(function)}.{name_of(maker)}()"), settings)
    variables = {k: v for k, v in vars(module).items() if not k.startswith("__") and _is_own_config(v)}
    if name in variables:
        return of_object(variables[name], name)
    classes = _config_classes(module)
    if classes:
        return _chosen(classes, function, module)
    if variables:
        if len(variables) > 1:
            raise _several(list(variables), function, module)
        (text,) = variables
        return of_object(variables[text], text)
    for made in CONFIG_FUNCTIONS:
        if inspect.isfunction(getattr(module, made, None)):
            return of_object(_called(getattr(module, made)), f"{made}()")
    parsers = [v for v in vars(module).values() if isinstance(v, argparse.ArgumentParser)]
    return of_object(_parsed(parsers[0]), "parser.parse_args([])") if len(parsers) == 1 else None


def _is_own_config(value: Any) -> bool:
    """Whether a variable of the file could be a model's config: at least two of its fields have names of sizes."""
    return is_config(value) and sum(n.lower() in LETTERS for n in of_object(value, "").fields) > 1


def _config_classes(module: ModuleType) -> dict[str, type]:
    own = {
        name: v
        for name, v in vars(module).items()
        if isinstance(v, type) and v.__module__ == module.__name__ and is_config_class(v, module)
    }
    bases = {base for cls in own.values() for base in cls.__mro__[1:]}
    return {name: cls for name, cls in own.items() if cls not in bases}


def _chosen(classes: dict[str, type], function: Callable[..., Any], module: ModuleType) -> type:
    """The config class for a model class: the only one, or the one that begins like it."""
    if len(classes) == 1:
        return next(iter(classes.values()))
    of = name_of(function).lower()
    sizes = {n: sum(p.lower() in LETTERS for p in (*vars(c), *_field_names(c))) for n, c in classes.items()}
    alike = [n for n in classes if of.startswith(CONFIG_CLASS.sub("", n).lower()) and CONFIG_CLASS.sub("", n)]
    modelish = alike or [n for n in classes if "model" in n.lower()] or [n for n in classes if sizes[n] > 1]
    if len(modelish) == 1:
        return classes[modelish[0]]
    raise _several([f"{n}()" for n in classes], function, module)


def _field_names(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)


def _several(names: list[str], function: Callable[..., Any], module: ModuleType) -> TargetError:
    return TargetError(
        f"{name_of(function)} takes a config, and the file has several: {', '.join(names)}",
        where=line_of(module, name_of(function)),
        hint="say which:\n" + "\n".join(f"--config '{n}'" for n in names),
    )


def _called(function: Callable[..., Any]) -> Any:
    """What a function that makes a config returns, called without command line arguments; of a parser, the defaults."""
    argv, sys.argv = sys.argv, sys.argv[:1]
    try:
        with user_code(function, f"{name_of(function)}()"):
            made = function()
            return _parsed(made) if isinstance(made, argparse.ArgumentParser) else made
    finally:
        sys.argv = argv


def _parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The defaults of a parser; what it requires is left out."""
    found = {a.dest: a.default for a in parser._actions if a.dest != "help" and a.default is not argparse.SUPPRESS}
    return argparse.Namespace(**found)


def _filled(recipe: Recipe, settings: Values) -> Recipe:
    """The recipe with the usual values for a vocabulary and lengths that are None: no model can do without."""
    empty = [n for n, v in recipe.fields.items() if v is None and n not in settings]
    wanted = {n: value_for(n) for n in empty if n.lower() in NEEDED}
    found = {n: v for n, v in wanted.items() if v is not None}
    fields = {**recipe.fields, **found}
    return Recipe(
        fields=fields,
        make=lambda values: recipe.make({**found, **values}),
        text=recipe.text,
        guessed={**recipe.guessed, **found},
    )
