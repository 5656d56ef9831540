"""From two factories to a `Subject`: their parameter names are the symbols, their defaults the working point."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn

from graphmem.errors import SymbolError, TargetError, did_you_mean
from graphmem.load.blank import Blank
from graphmem.load.subject import Point, Subject, plain, read_symbol
from graphmem.usercode.callables import defined_at, name_of
from graphmem.usercode.running import user_code


def from_factories(
    model: Callable[..., nn.Module],
    inputs: Callable[..., Any],
    *,
    name: str,
    loss: Callable[[Any], torch.Tensor] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Subject:
    """A Subject of two functions whose parameter names are the symbols and whose defaults are the working point.

    Args:
        settings: values for parameters of either function, in place of the defaults; strings are read as the
            default's type.

    Raises:
        SymbolError: a setting that neither function takes, or that cannot be read.
        TargetError: a parameter without a default, or with two different ones.
    """
    of_model, of_inputs = _defaults(model), _defaults(inputs)
    both = {**of_inputs, **of_model}
    _check_shared(model, of_model, inputs, of_inputs, settings or {})
    for key, value in (settings or {}).items():
        if key not in both:
            raise SymbolError(f"unknown symbol {key!r} in --set", hint=suggestion(key, both))
        default, both[key] = both[key], read_setting(key, value, both[key])
        if key in of_inputs and _is_size(default):  # of a model, 0 or -1 may mean something
            read_symbol(key, both[key])
    symbols = {k: v for k, v in both.items() if _is_whole(v)}
    made_by = _Factories(model=model, inputs=inputs, of_model=tuple(of_model), of_inputs=tuple(of_inputs), values=both)
    return Subject(
        name=name,
        symbols=symbols,
        model_symbols=frozenset(of_model) & frozenset(symbols),
        build=made_by.build,
        make_inputs=made_by.make_inputs,
        build_real=made_by.build_real,
        loss=loss,
    )


def _check_shared(
    model: Callable[..., Any],
    of_model: Mapping[str, object],
    inputs: Callable[..., Any],
    of_inputs: Mapping[str, object],
    settings: Mapping[str, object],
) -> None:
    """One name is one symbol, so it has one default, or a setting in place of both."""
    for name in of_model.keys() & of_inputs.keys() - settings.keys():
        if of_model[name] != of_inputs[name]:
            raise TargetError(
                f"{name} is {of_model[name]!r} in {name_of(model)}() and {of_inputs[name]!r} in {name_of(inputs)}()",
                where=defined_at(inputs),
                hint="one name is one symbol: give both the same default",
            )


@dataclass(frozen=True, kw_only=True)
class _Factories:
    """The two functions, the names of their parameters, and the values of all of these at the working point."""

    model: Callable[..., nn.Module]
    inputs: Callable[..., Any]
    of_model: tuple[str, ...]
    of_inputs: tuple[str, ...]
    values: Mapping[str, object]

    def build_real(self, point: Point) -> nn.Module:
        with user_code(self.model, f"{name_of(self.model)}()"):
            module = self.model(**self._arguments(self.of_model, point))
        if not isinstance(module, nn.Module):
            raise TargetError(
                f"{name_of(self.model)}() returned {type(module).__name__}, not a torch.nn.Module",
                where=defined_at(self.model),
                hint="return the module itself",
            )
        return module

    def build(self, point: Point) -> nn.Module:
        with Blank():
            return self.build_real(point)

    def make_inputs(self, point: Point, real: bool) -> Any:
        with Blank(limit=None if real else Blank.LIMIT), user_code(self.inputs, f"{name_of(self.inputs)}()"):
            made = self.inputs(**self._arguments(self.of_inputs, point))
        if not isinstance(made, (tuple, list, dict, torch.Tensor)):
            raise TargetError(
                f"{name_of(self.inputs)}() returned {type(made).__name__}, not a tuple or dict of tensors",
                where=defined_at(self.inputs),
                hint="return (ids,) or {'input_ids': ids}",
            )
        return plain(made)

    def _arguments(self, names: tuple[str, ...], point: Point) -> dict[str, object]:
        return {name: point.get(name, self.values[name]) for name in names}


def _defaults(function: Callable[..., Any]) -> dict[str, object]:
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            raise TargetError(
                f"parameter {name} of {name_of(function)}() has no default",
                where=defined_at(function),
                hint=f"a default is the working point: def {name_of(function)}({name}=1024, ...)",
            )
        found[name] = parameter.default
    return found


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_size(value: object) -> bool:
    return _is_whole(value) and value > 0


def read_setting(name: str, value: object, default: object) -> object:
    """A setting from the command line as a value of its default's type; one from Python as it is, but a whole number
    of any kind as an int, since only that is a symbol."""
    if isinstance(default, str):
        return value
    if not isinstance(value, str):
        return _whole(name, value, default) if _is_whole(default) else value
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        if isinstance(default, int):
            return int(value.replace("_", "").replace(",", ""))
        if isinstance(default, float):
            return float(value)
        found = ast.literal_eval(value)
    except (KeyError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        if default is None:
            return value
        found = value
    if default is None or isinstance(found, type(default)):
        return found
    raise SymbolError(
        f"--set {name}={value}: {name} takes a value of type {type(default).__name__}, such as {default!r}",
        hint=f"--set {name}={default}",
    )


def _whole(name: str, value: object, default: int) -> object:
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        raise SymbolError(f"{name} takes a whole number, such as {default}, not {value!r}", hint=f"{name}={int(value)}")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return value


def suggestion(name: str, known: Mapping[str, object]) -> str:
    """`did_you_mean`, with the values that the known names have."""
    return did_you_mean(name, known, [f"{k}={v!r}" for k, v in known.items()])
