"""--config: an expression in the file's namespace, taken apart so that it can be made again with other values."""

from __future__ import annotations

import argparse
import ast
import inspect
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from graphmem.errors import GraphmemError, TargetError
from graphmem.escapes import one_line, said
from graphmem.load.blank import Blank
from graphmem.load.discover.configs import is_config_class
from graphmem.load.discover.make import call_of, has_python_signature, of_class, recipe_of
from graphmem.load.discover.recipe import Recipe, Values, compound, is_config, of_object
from graphmem.load.names import CONFIG_CLASS
from graphmem.usercode.paths import file_of
from graphmem.usercode.running import raised
from graphmem.usercode.turn import users_turn


def from_expression(text: str, module: ModuleType, settings: Values) -> Recipe:
    """The recipe of an expression in the file's namespace, such as GPTConfig(n_layer=12).

    Raises:
        TargetError: it is not an expression, or it raises.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        at = f"{one_line(text)}\n{' ' * (6 + max(error.offset or 1, 1))}^"
        raise TargetError(f"--config is not a Python expression: {error.msg}", where=at, hint=_CONFIG_HINT) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise TargetError("--config is not a Python expression that can be read", hint=_CONFIG_HINT) from error
    try:
        with users_turn():
            return _node(tree, module, settings)
    except (GraphmemError, KeyboardInterrupt):
        raise
    except BaseException as error:
        names = [n for n in vars(module) if CONFIG_CLASS.search(n)]
        has = f"; the file has {', '.join(names)}" if names else ""
        raise TargetError(
            f"--config {text!r} raised {type(error).__name__}: {said(error)}",
            where=raised(error, "", file_of(module)).where if not isinstance(error, NameError) else None,
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
    if isinstance(value, type) and is_config_class(value, module):
        return of_class(value, module, settings)
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
    return has_python_signature(function) and any(
        p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()
    )


def _named(node: ast.Call, function: Any, value: Any, module: ModuleType) -> Recipe:
    """The recipe of Config.from_name("tiny", **others), which takes any field among the others."""
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
        except Exception:  # a config may refuse any value
            continue
        following |= {n for n in sizes if n != name and moved.get(n) != fields[n]}
    return replace(compound(fields, assemble, ast.unparse(node), {}), computed=frozenset(following))


def _arguments(node: ast.Call, function: Any, module: ModuleType, settings: Values) -> dict[str, object] | None:
    """The arguments of a call by name; None where it cannot be taken apart."""
    if not (isinstance(function, type) or inspect.isfunction(function)) or not has_python_signature(function):
        return None
    if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
        return None

    def part(inner: ast.expr) -> object:
        if isinstance(inner, ast.Call):
            called = _evaluated(inner.func, module)
            if isinstance(called, type) and (is_config_class(called, module) or issubclass(called, nn.Module)):
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
