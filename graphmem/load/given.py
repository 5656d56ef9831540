"""The arguments of `graphmem.analyze` that say what to analyse, as a `Subject`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from graphmem.errors import UsageError
from graphmem.load.factories import from_factories
from graphmem.load.files import Wishes, load_target
from graphmem.load.subject import Subject, from_module

Model = nn.Module | Callable[..., nn.Module] | str | os.PathLike[str]
Loss = Callable[[Any], torch.Tensor]


def wishes_of(
    symbols: Mapping[str, object] | None,
    config: str | None,
    input: Mapping[str, str] | None,
    task: str | None,
    trust_remote_code: bool,
) -> Wishes:
    """The arguments as the command line would give them.

    Raises:
        UsageError: one that is no dict.
    """
    for name, given, example in (("symbols", symbols, {"s": 4096}), ("input", input, {"idx": "int64[b,s]"})):
        if given is not None and not isinstance(given, Mapping):
            raise UsageError(f"{name} is a dict, not {given!r}", hint=f"{name}={example}")
        if any(not isinstance(key, str) for key in given or ()):
            raise UsageError(f"{name} has names as its keys, not {list(given or ())!r}", hint=f"{name}={example}")
    for name, text in (("config", config), ("task", task)):
        if text is not None and not isinstance(text, str):
            raise UsageError(f"{name} is a text, not {text!r}", hint="as on the command line")
    if not isinstance(trust_remote_code, bool):  # "no" would be true
        raise UsageError(f"trust_remote_code is True or False, not {trust_remote_code!r}", hint="leave it out")
    texts = tuple(f"{name}={text}" for name, text in (input or {}).items())
    return Wishes(settings=symbols or {}, inputs=texts, config=config, task=task, trust_remote_code=trust_remote_code)


def subject_of(model: Model, inputs: Any, loss: Loss | None, wishes: Wishes) -> Subject:
    """The Subject of a target, of a module with its tensors, or of two functions.

    Raises:
        UsageError: the arguments do not go together.
        GraphmemError: the target cannot be loaded.
    """
    if isinstance(model, (str, os.PathLike)):
        if inputs is not None or loss is not None:
            raise UsageError("a target brings its own inputs and loss", hint="define inputs() and loss() in the file")
        return load_target(os.fspath(model), wishes)
    if wishes.inputs or wishes.config or wishes.task or wishes.trust_remote_code:
        raise UsageError("config, input, task and trust_remote_code go with a target", hint='analyze("model.py", ...)')
    if isinstance(model, nn.Module):
        if inputs is None:
            raise UsageError("a module goes with its inputs", hint="analyze(module, inputs)")
        if callable(inputs) and not isinstance(inputs, torch.Tensor):
            raise UsageError("a module goes with tensors, but inputs is a function", hint="analyze(module, inputs())")
        return from_module(model, inputs, loss=loss, symbols=wishes.settings)  # type: ignore[arg-type]
    if not callable(inputs):
        raise UsageError("a function for the model goes with a function for the inputs", hint="analyze(model, inputs)")
    name = getattr(model, "__qualname__", type(model).__name__)
    return from_factories(model, inputs, name=name, loss=loss, settings=wishes.settings)
