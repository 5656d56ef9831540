"""How the model of a file is made: a call of its class, with each argument found or guessed, or the user is asked."""

from __future__ import annotations

import argparse
import ast
import inspect
import typing
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

from torch import nn

from graphmem.errors import TargetError
from graphmem.load.blank import Blank
from graphmem.load.discover.configs import config_class, config_for
from graphmem.load.discover.recipe import Assumed, Recipe, Values, call, compound, of_object
from graphmem.load.discover.root import line_of, source_of
from graphmem.load.names import CONFIGS, LENGTHS, LETTERS, value_for
from graphmem.usercode.callables import name_of
from graphmem.usercode.paths import file_of
from graphmem.usercode.running import raised, user_code


def recipe_of(
    function: Callable[..., Any], module: ModuleType, settings: Values, config: Recipe | None = None
) -> Recipe:
    """The recipe of a call of a model's class or factory without arguments, or with what can be found or guessed.

    Args:
        config: the value of the parameter that takes a config.

    Raises:
        TargetError: a parameter has no value that could be found or guessed.
    """
    if config is None:
        return call_of(function, {}, module, settings)
    named = [p for p in parameters_of(function) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    hints = _hints(function, module)
    likely = [p for p in named if p.name.lower() in CONFIGS or config_class(hints.get(p.name), module)]
    taker = next(iter(likely or [p for p in named if p.default is p.empty] or named), None)
    if taker is None:
        raise TargetError(
            f"{name_of(function)} takes no config, so --config has no place to go",
            where=line_of(module, name_of(function)),
            hint=f"give the model itself: --config '{name_of(function)}(...)'",
        )
    if not likely and len([p for p in named if p.default is p.empty]) != 1 and isinstance(config.make({}), dict):
        return call_of(function, dict(config.make({})), module, settings)
    return call_of(function, {taker.name: config}, module, settings)


def annotations_of(function: Any) -> dict[str, Any]:
    """Annotations of a function's parameters, as far as they can be evaluated in its module."""
    function = getattr(function, "__func__", function)
    return _evaluated_hints(function, getattr(function, "__globals__", {}))


def call_of(function: Callable[..., Any], given: Mapping[str, object], module: ModuleType, settings: Values) -> Recipe:
    """The recipe of `function(**given)`, with other parameters as they were found or guessed."""
    found: dict[str, object] = dict(given)
    guessed: dict[str, object] = {}
    missing: list[str] = []
    unknown: list[str] = []
    hints = _hints(function, module)
    for parameter in parameters_of(function):
        name = parameter.name
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        cls = config_class(hints.get(name), module)
        if parameter.default is not parameter.empty:
            if cls is not None and parameter.default is None:
                found[name] = of_class(cls, module, settings)
            continue
        if name in settings:
            guessed[name] = _literal(settings[name])
        elif cls is not None:
            found[name] = of_class(cls, module, settings)
        elif name.lower() in CONFIGS or hints.get(name) in (dict, argparse.Namespace, SimpleNamespace):
            config = config_for(name, function, module, settings)
            if config is None:
                unknown.append(name)
            else:
                found[name] = of_class(config, module, settings) if isinstance(config, type) else config
        elif (value := _guess(name, function)) is not None and _fits(value, hints.get(name)):
            guessed[name] = value
        else:
            missing.append(name)
    if missing:
        raise _no_value(function, module, missing, guessed)
    if unknown:
        return _assumed(function, found, guessed, unknown, module, settings)
    return call(function, found, guessed, name_of(function))


def has_python_signature(function: Any) -> bool:
    """Whether the parameters of something that can be called are known."""
    try:
        return bool(inspect.signature(function).parameters) or function.__module__ != "builtins"
    except (TypeError, ValueError):
        return False


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, or of a class when it is called."""
    return list(inspect.signature(function).parameters.values())


def _hints(function: Callable[..., Any], module: ModuleType) -> dict[str, Any]:
    """Annotations of the parameters; those that cannot be evaluated are left out."""
    target: Any = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    return _evaluated_hints(target, vars(module))


def _evaluated_hints(function: Any, scope: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, {**vars(typing), **scope})
            except Exception:  # an annotation may be anything
                continue
        found[name] = annotation
    return found


def of_class(cls: type, module: ModuleType, settings: Values) -> Recipe:
    """A config class, called; or copied with fields set where its fields are not parameters."""
    own = call_of(cls, {}, module, settings)
    if hasattr(cls, "__dataclass_fields__"):
        return own
    plain = [p for p in parameters_of(cls) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    instance = own.make({})
    fields = of_object(instance, own.text).fields
    if isinstance(instance, dict) or {p.name for p in plain} == fields.keys():
        return own
    attributes = {k: v for k, v in fields.items() if k not in own.fields and (k in _class_values(cls) or not plain)}

    def assemble(changed: dict[str, Any]) -> Any:
        made = own.make({k: v for k, v in changed.items() if k in own.fields})
        for name, value in changed.items():
            if name not in own.fields:
                setattr(made, name, value)
        return made

    return compound({**attributes, **own.fields}, assemble, own.text, own.guessed)


def _class_values(cls: type) -> dict[str, object]:
    return {k: v for base in cls.__mro__[:-1] for k, v in vars(base).items()}


def _assumed(
    function: Callable[..., Any],
    found: Mapping[str, object],
    guessed: Mapping[str, object],
    unknown: list[str],
    module: ModuleType,
    settings: Values,
) -> Recipe:
    """A call whose config nothing describes: its fields are what the constructor reads, if the names are known."""
    known = {k: _literal(v) for k, v in settings.items()}

    def construct(values: Values) -> tuple[Any, Assumed]:
        config = Assumed({**known, **values}, value_for)
        fixed = {k: v.make({}) if isinstance(v, Recipe) else v for k, v in {**found, **guessed}.items()}
        try:
            return function(**fixed, **dict.fromkeys(unknown, config)), config
        except (AttributeError, KeyError) as error:
            if not config.missing:
                raise
            raise _unknown_field(error, config, function, unknown[0], module) from error

    with Blank(), user_code(function.__init__ if isinstance(function, type) else function, name_of(function)):  # type: ignore[misc]
        _, config = construct({})
    for length in _lengths_in(module):
        config.get(length)
    fields = {**guessed, **config.asked}
    made_up = {k: v for k, v in fields.items() if k not in known}
    text = f"{name_of(function)}({', '.join(unknown)})"
    return Recipe(fields=fields, make=lambda values: construct(values)[0], text=text, guessed=made_up)


def _unknown_field(
    error: Exception, config: Assumed, function: Callable[..., Any], parameter: str, module: ModuleType
) -> TargetError:
    field = config.missing[-1]
    have = "".join(f"{k}={v!r}, " for k, v in config.asked.items())
    return TargetError(
        f"{name_of(function)} reads {parameter}.{field}, and nothing in the file says what that is",
        where=raised(error, "", file_of(module)).where,
        hint=f"--set {field}=..., or all of it: --config 'SimpleNamespace({have}{field}=...)'",
    )


def _lengths_in(module: ModuleType) -> set[str]:
    """Limits of the sequence that are read somewhere, perhaps only in forward."""
    return {n.attr for n in ast.walk(source_of(module)) if isinstance(n, ast.Attribute) and n.attr in LENGTHS}


def _no_value(
    function: Callable[..., Any], module: ModuleType, missing: list[str], guessed: Mapping[str, object]
) -> TargetError:
    names = ", ".join(missing)
    known = "".join(f", {k}={v!r}" for k, v in guessed.items())
    example = ", ".join(f"{n}=..." for n in missing) + known
    return TargetError(
        f"{name_of(function)} needs {names}, and nothing in the file says what to give",
        where=line_of(module, name_of(function)),
        hint=f"give it: --config '{name_of(function)}({example})'",
    )


def _guess(name: str, function: Callable[..., Any]) -> object | None:
    """The usual value; hidden_dim is the feed-forward's width only beside the model's."""
    alone = name.lower() == "hidden_dim" and not any(
        LETTERS.get(p.name.lower()) == "h" for p in parameters_of(function)
    )
    return value_for("hidden_size" if alone else name)


def _fits(value: object, annotation: Any) -> bool:
    """Whether a guess has the type of the annotation."""
    if annotation in (int, float, bool, str):
        return isinstance(value, (int, float) if annotation is float else annotation)
    return not (isinstance(annotation, type) and issubclass(annotation, nn.Module))


def _literal(value: object) -> object:
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value
