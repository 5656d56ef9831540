"""How the model of a file is made: its class's arguments, their config, or what --config says."""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from graphmem.callables import name_of
from graphmem.errors import GraphmemError, TargetError
from graphmem.load.blank import Blank
from graphmem.load.names import CONFIG_CLASS, CONFIG_FUNCTIONS, CONFIGS, LENGTHS, LETTERS, value_for
from graphmem.load.plain.recipe import Assumed, Recipe, call, compound, is_config, of_object
from graphmem.load.plain.root import line_of, source_of
from graphmem.load.usercode import raised, user_code

Values = Mapping[str, object]


def recipe_of(
    function: Callable[..., Any], module: ModuleType, settings: Values, config: Recipe | None = None
) -> Recipe:
    """The recipe of a call of a model's class or factory without arguments, or with what can be found or guessed.

    Args:
        config: what the parameter gets that takes a config.

    Raises:
        TargetError: a parameter has no value that could be found or guessed.
    """
    if config is None:
        return call_of(function, {}, module, settings)
    named = [p for p in _parameters(function) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    hints = _hints(function, module)
    likely = [p for p in named if p.name.lower() in CONFIGS or _config_class(hints.get(p.name), module)]
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
    """The recipe of `function(**given)`, other parameters as found or guessed."""
    found: dict[str, object] = dict(given)
    guessed: dict[str, object] = {}
    missing: list[str] = []
    unknown: list[str] = []
    hints = _hints(function, module)
    for parameter in _parameters(function):
        name = parameter.name
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        cls = _config_class(hints.get(name), module)
        if parameter.default is not parameter.empty:
            if cls is not None and parameter.default is None:
                found[name] = _of_class(cls, module, settings)
            continue
        if name in settings:
            guessed[name] = _literal(settings[name])
        elif cls is not None:
            found[name] = _of_class(cls, module, settings)
        elif name.lower() in CONFIGS or hints.get(name) in (dict, argparse.Namespace, SimpleNamespace):
            config = _config_for(name, function, module, settings)
            if config is None:
                unknown.append(name)
            else:
                found[name] = config
        elif (value := _guess(name, function)) is not None and _fits(value, hints.get(name)):
            guessed[name] = value
        else:
            missing.append(name)
    if missing:
        raise _no_value(function, module, missing, guessed)
    if unknown:
        return _assumed(function, found, guessed, unknown, module, settings)
    return call(function, found, guessed, name_of(function))


def from_expression(text: str, module: ModuleType, settings: Values) -> Recipe:
    """The recipe of an expression in the file's namespace, such as GPTConfig(n_layer=12).

    Raises:
        TargetError: it is no expression, or raises.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        at = f"{text}\n{' ' * (6 + max(error.offset or 1, 1))}^"
        raise TargetError(f"--config is no Python expression: {error.msg}", where=at, hint=_CONFIG_HINT) from error
    try:
        return _node(tree, module, settings)
    except GraphmemError:
        raise
    except Exception as error:
        names = [n for n in vars(module) if CONFIG_CLASS.search(n)]
        has = f"; the file has {', '.join(names)}" if names else ""
        raise TargetError(
            f"--config {text!r} raised {type(error).__name__}: {error}",
            where=raised(error, "", module.__file__).where if not isinstance(error, NameError) else None,
            hint=_CONFIG_HINT + has,
        ) from error


_CONFIG_HINT = "give an expression as it would stand in the file: --config 'GPTConfig(n_layer=12)'"


def _node(node: ast.expr, module: ModuleType, settings: Values) -> Recipe:
    """Calls of classes become calls that can be repeated with other values; anything else is evaluated."""
    value: Any
    if isinstance(node, ast.Call):
        function = _evaluated(node.func, module)
        given = _arguments(node, function, module, settings)
        if given is not None:
            return call_of(function, given, module, settings)
    value = _evaluated(node, module)
    text = ast.unparse(node)
    if isinstance(value, type) and issubclass(value, nn.Module):
        return recipe_of(value, module, settings)
    if isinstance(value, type) and _is_config_class(value, module):
        return _of_class(value, module, settings)
    if isinstance(value, nn.Module):
        return compound({}, lambda _: value, text, {})
    if isinstance(node, ast.Call) and is_config(value):
        function = _evaluated(node.func, module)
        if any(k.arg is None for k in node.keywords) or not _takes_any(function):
            return of_object(value, text)
        return _named(node, function, value, module)
    if not is_config(value) and not isinstance(value, type):
        raise TargetError(f"--config {text} is {type(value).__name__}, neither a config nor a model", hint=_CONFIG_HINT)
    return of_object(value, text)


def _takes_any(function: Any) -> bool:
    return _has_python_signature(function) and any(
        p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()
    )


def _named(node: ast.Call, function: Any, value: Any, module: ModuleType) -> Recipe:
    """Config.from_name("tiny", **others): made again with other values among the others."""
    positional = [_evaluated(a, module) for a in node.args]
    keywords = {str(k.arg): _evaluated(k.value, module) for k in node.keywords}

    def assemble(changed: dict[str, Any]) -> Any:
        return function(*positional, **{**keywords, **changed})

    fields = dict(of_object(value, "").fields)
    sizes = [name for name, v in fields.items() if type(v) is int and v > 0]
    following: set[str] = set()
    for name in sizes:
        try:
            moved = of_object(assemble({name: 2 * int(str(fields[name]))}), "").fields
        except Exception:  # noqa: S112  # a config may refuse any value
            continue
        following |= {n for n in sizes if n != name and moved.get(n) != fields[n]}
    return replace(compound(fields, assemble, ast.unparse(node), {}), computed=frozenset(following))


def _arguments(node: ast.Call, function: Any, module: ModuleType, settings: Values) -> dict[str, object] | None:
    """The arguments of a call by name; None where it cannot be taken apart."""
    if not (isinstance(function, type) or inspect.isfunction(function)) or not _has_python_signature(function):
        return None
    if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
        return None

    def part(inner: ast.expr) -> object:
        if isinstance(inner, ast.Call):
            called = _evaluated(inner.func, module)
            if isinstance(called, type) and (_is_config_class(called, module) or issubclass(called, nn.Module)):
                return _node(inner, module, settings)
        value = _evaluated(inner, module)
        return of_object(value, ast.unparse(inner)) if is_config(value) else value

    positional = [part(a) for a in node.args]
    keywords = {str(k.arg): part(k.value) for k in node.keywords}
    bound = inspect.signature(function).bind_partial(*positional, **keywords)
    arguments: dict[str, object] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return None
        arguments |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return arguments


def _evaluated(node: ast.expr, module: ModuleType) -> Any:
    names = {"SimpleNamespace": SimpleNamespace, "Namespace": argparse.Namespace, "torch": torch, "nn": nn}
    with Blank():
        return eval(compile(ast.Expression(node), "<--config>", "eval"), {**names, **vars(module)})


def _has_python_signature(function: Any) -> bool:
    try:
        return bool(inspect.signature(function).parameters) or function.__module__ != "builtins"
    except (TypeError, ValueError):
        return False


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
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
            except Exception:  # noqa: S112  # an annotation may be anything
                continue
        found[name] = annotation
    return found


def _config_class(annotation: Any, module: ModuleType) -> type | None:
    """The config class that an annotation names, also as Optional[...]."""
    options = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return next((o for o in options if isinstance(o, type) and _is_config_class(o, module)), None)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _is_config_class(cls: type, module: ModuleType) -> bool:
    if issubclass(cls, (nn.Module, torch.Tensor)) or cls.__module__ in ("builtins", "typing", "argparse", "types"):
        return False
    return hasattr(cls, "__dataclass_fields__") or bool(CONFIG_CLASS.search(cls.__name__))


def _of_class(cls: type, module: ModuleType, settings: Values) -> Recipe:
    """A config class, called; or copied with fields set where its fields are not parameters."""
    own = call_of(cls, {}, module, settings)
    if hasattr(cls, "__dataclass_fields__"):
        return own
    plain = [p for p in _parameters(cls) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    instance = own.make({})
    fields = of_object(instance, own.text).fields
    if isinstance(instance, dict) or all(p.name in fields for p in plain) and len(fields) == len(plain):
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


def _config_for(name: str, function: Callable[..., Any], module: ModuleType, settings: Values) -> Recipe | None:
    """The config that a parameter of that name is meant to get: what the class or the file offers; None if nothing."""
    maker = next((getattr(function, n) for n in CONFIG_FUNCTIONS if hasattr(function, n)), None)
    if maker is not None:
        return _filled(of_object(_called(maker), f"{name_of(function)}.{name_of(maker)}()"), settings)
    variables = {k: v for k, v in vars(module).items() if not k.startswith("__") and _is_own_config(v)}
    if name in variables:
        return of_object(variables[name], name)
    classes = _config_classes(module)
    if classes:
        return _of_class(_chosen(classes, function, module), module, settings)
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
    """A variable of the file that could be a model's config: two of its names are those of sizes."""
    return is_config(value) and sum(n.lower() in LETTERS for n in of_object(value, "").fields) > 1


def _config_classes(module: ModuleType) -> dict[str, type]:
    own = {
        name: v
        for name, v in vars(module).items()
        if isinstance(v, type) and v.__module__ == module.__name__ and _is_config_class(v, module)
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
    return [p.name for p in _parameters(cls)]


def _several(names: list[str], function: Callable[..., Any], module: ModuleType) -> TargetError:
    return TargetError(
        f"{name_of(function)} takes a config, and the file has several: {', '.join(names)}",
        where=line_of(module, name_of(function)),
        hint="say which:\n" + "\n".join(f"--config '{n}'" for n in names),
    )


def _called(function: Callable[..., Any]) -> Any:
    """A function that makes a config, without command line arguments; the result of a parser that it returns."""
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
    """A config whose fields are None until they are set: the vocabulary and lengths that no model can do without."""
    empty = [n for n, v in recipe.fields.items() if v is None and n not in settings]
    wanted = {n: value_for(n) for n in empty if n.lower() in ("vocab_size", "block_size", "max_seq_len", "n_positions")}
    found = {n: v for n, v in wanted.items() if v is not None}
    fields = {**recipe.fields, **found}
    return Recipe(fields, lambda values: recipe.make({**found, **values}), recipe.text, {**recipe.guessed, **found})


def _assumed(
    function: Callable[..., Any],
    found: Mapping[str, object],
    guessed: Mapping[str, object],
    unknown: list[str],
    module: ModuleType,
    settings: Values,
) -> Recipe:
    """A call whose config is described nowhere: what the constructor asks of it, by well-known names."""
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

    with user_code(function.__init__ if isinstance(function, type) else function, name_of(function)), Blank():  # type: ignore[misc]
        _, config = construct({})
    for length in _lengths_in(module):
        config.get(length)
    fields = {**guessed, **config.asked}
    made_up = {k: v for k, v in fields.items() if k not in known}
    text = f"{name_of(function)}({', '.join(unknown)})"
    return Recipe(fields, lambda values: construct(values)[0], text, made_up)


def _unknown_field(
    error: Exception, config: Assumed, function: Callable[..., Any], parameter: str, module: ModuleType
) -> TargetError:
    field = config.missing[-1]
    have = "".join(f"{k}={v!r}, " for k, v in config.asked.items())
    return TargetError(
        f"{name_of(function)} reads {parameter}.{field}, and the file says nowhere what that is",
        where=raised(error, "", module.__file__).where,
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
        f"{name_of(function)} needs {names}, and the file says nowhere what to give",
        where=line_of(module, name_of(function)),
        hint=f"give it: --config '{name_of(function)}({example})'",
    )


def _guess(name: str, function: Callable[..., Any]) -> object | None:
    """The usual value; hidden_dim is the feed-forward's width only beside the model's."""
    alone = name.lower() == "hidden_dim" and not any(LETTERS.get(p.name.lower()) == "h" for p in _parameters(function))
    return value_for("hidden_size" if alone else name)


def _fits(value: object, annotation: Any) -> bool:
    """Whether a guess has the type that was asked for."""
    if annotation in (int, float, bool, str):
        return isinstance(value, annotation) or (annotation is float and isinstance(value, int))
    return not (isinstance(annotation, type) and issubclass(annotation, nn.Module))


def _literal(value: object) -> object:
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value
