"""`Recipe`: how a model or its config is made from named values, so that it can be made again with others."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

Values = Mapping[str, object]
_PLAIN = (bool, int, float, str, type(None), list, tuple, torch.dtype, torch.device)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Something that can be made with other values for its fields.

    fields: name -> default of every value that can be set.
    make: makes it; a field that is not among the values keeps its default.
    text: as the user would write it. guessed: field -> the value that graphmem made up. computed: fields that follow
    from others unless the user sets them.
    """

    fields: Mapping[str, object]
    make: Callable[[Values], Any]
    text: str
    guessed: Mapping[str, object] = field(default_factory=dict)
    computed: frozenset[str] = frozenset()


def call(function: Callable[..., Any], given: Mapping[str, object], guessed: Mapping[str, object], text: str) -> Recipe:
    """The recipe of `function(**given, **guessed)`; its other parameters with defaults can be set too.

    Args:
        given: values, or recipes of values.
        text: what to call it; "GPT" is shown as GPT(...).
    """
    parameters = inspect.signature(function).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in given}
    nested = {n: of_object(v, n) for n, v in defaults.items() if is_config(v) or is_settings(v)}
    parts = {**defaults, **given, **guessed, **nested}

    def assemble(changed: dict[str, Any]) -> Any:
        arguments = {**{k: v for k, v in {**given, **guessed}.items() if not isinstance(v, Recipe)}, **changed}
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.name in arguments]
        return function(*[arguments.pop(name) for name in positional], **arguments)

    shown = ", ".join(v.text if isinstance(v, Recipe) else f"{k}={v!r}" for k, v in given.items())
    return compound(parts, assemble, f"{text}({shown})", guessed)


def of_object(value: Any, text: str) -> Recipe:
    """The recipe of a config that exists: a copy of it with fields set. Fields that are configs are recipes too."""
    fields = value if isinstance(value, dict) else _public(value)
    parts = {n: of_object(v, n) if is_config(v) else v for n, v in fields.items() if isinstance(n, str)}

    def assemble(changed: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            fresh = copy.deepcopy(value)
            fresh.update(changed)
            return fresh
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            initial = {f.name for f in dataclasses.fields(value) if f.init}
            if changed.keys() <= initial and changed:
                return dataclasses.replace(value, **changed)
        if isinstance(value, type):  # a class used as it is, without an instance
            return type(value)(value.__name__, (value,), dict(changed))
        fresh = copy.deepcopy(value)
        for name, new in changed.items():
            setattr(fresh, name, new)
        return fresh

    return compound(parts, assemble, text, {})


def compound(
    parts: Mapping[str, object],
    assemble: Callable[[dict[str, Any]], Any],
    text: str,
    guessed: Mapping[str, object],
) -> Recipe:
    """A recipe of parts that are values or recipes; fields of the latter go by their own name where it is free."""
    inner = {name: part for name, part in parts.items() if isinstance(part, Recipe)}
    names: dict[str, dict[str, str]] = {}
    fields: dict[str, object] = {n: p for n, p in parts.items() if n not in inner}
    made_up = dict(guessed)
    computed: set[str] = set()
    for outer, recipe in inner.items():
        names[outer] = {n: n if n not in fields else f"{outer}_{n}" for n in recipe.fields}
        fields |= {names[outer][n]: value for n, value in recipe.fields.items()}
        made_up |= {names[outer][n]: value for n, value in recipe.guessed.items()}
        computed |= {names[outer][n] for n in recipe.computed}

    def make(values: Values) -> Any:
        changed: dict[str, Any] = {n: values[n] for n in parts if n in values and n not in inner}
        for outer, recipe in inner.items():
            changed[outer] = recipe.make({n: values[known] for n, known in names[outer].items() if known in values})
        return assemble(changed)

    return Recipe(fields=fields, make=make, text=text, guessed=made_up, computed=frozenset(computed))


def is_config(value: Any) -> bool:
    """Whether a value is a bundle of named settings: a dict with names, a dataclass, a namespace, a config object."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(k, str) for k in value)
    if isinstance(value, (*_PLAIN, nn.Module, torch.Tensor, set, frozenset, bytes)) or inspect.isroutine(value):
        return False
    if isinstance(value, type) or callable(value) or inspect.ismodule(value):
        return False
    return bool(_public(value)) and (type(value).__module__ not in ("builtins", "typing", "collections"))


def is_settings(value: Any) -> bool:
    """Whether a class is used as a config without an instance: class Config: n_layer = 12."""
    if not isinstance(value, type) or issubclass(value, (nn.Module, torch.Tensor)):
        return False
    return any(type(v) is int for v in _public(value).values())


def _public(value: Any) -> dict[str, object]:
    """The fields of a config object: its own, and those of its classes that are plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    found: dict[str, object] = {}
    classes = (value if isinstance(value, type) else type(value)).__mro__
    if not isinstance(value, SimpleNamespace):
        for cls in reversed(classes):
            if cls.__module__.partition(".")[0] not in ("builtins", "argparse", "collections", "pydantic", "types"):
                found |= {k: v for k, v in vars(cls).items() if isinstance(v, _PLAIN)}
    if not isinstance(value, type):
        found |= getattr(value, "__dict__", {})
    return {k: v for k, v in found.items() if not k.startswith("_")}


class Assumed(dict[str, Any]):
    """Stands for a config that nothing describes: it has every field that is read, if the name is well known.

    Fields are read as config.name or config["name"]; it remembers which ones were.
    """

    def __init__(self, known: Values, guess: Callable[[str], object | None]) -> None:
        super().__init__()
        self.__dict__["known"], self.__dict__["guess"] = dict(known), guess
        self.__dict__["asked"], self.__dict__["missing"] = {}, []

    def __missing__(self, name: str) -> Any:
        return self._look(name, KeyError)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name] if name in self else self._look(name, AttributeError)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict: the default, if the name is not known."""
        if name in self:
            return self[name]
        return self._look(name, KeyError) if name in self.known or self.guess(name) is not None else default

    def _look(self, name: str, error: type[Exception]) -> Any:
        asked: dict[str, Any] = self.__dict__["asked"]
        value = self.known[name] if name in self.known else self.guess(name)
        if value is None:
            self.missing.append(name)
            raise error(name)
        asked[name] = value
        return value
