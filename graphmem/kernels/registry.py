"""The one table of kernels: for every device, what graphmem runs or says in place of torch and its fake mode.

Each file of this room registers what it knows with one of these:

    @replaces(F.ctc_loss)                                   the function, as the machine would run it
    @result_of(aten._grouped_mm.default)                    an operator's result, in place of the fake kernel's
    @corrects(aten.native_layer_norm.default, on="cpu")     an operator's result, made of the fake kernel's
    outputs_on_cpu(aten._x.default, 2, 3)                   results that are on the CPU, whatever the fake kernel says
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeVar

import torch

from graphmem.machine import Machine
from graphmem.record import Trace

DEVICES = ("cuda", "cpu")

Replacement = Callable[[Machine, Trace], Callable[..., torch.Tensor]]
Result = Callable[[tuple[Any, ...], dict[str, Any]], Any]
Correction = Callable[[tuple[Any, ...], Any], Any]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """What is registered for one device.

    replacements: a function of torch -> what makes its replacement, for a machine and the trace that notes the call.
    results: an operator -> a function of its args and kwargs that returns the result, in fake tensors.
    corrections: an operator -> a function of its args and of the fake result that returns the real one, also fake.
    outputs_on_cpu: an operator -> the positions of those of its results that are on the CPU.
    """

    replacements: dict[Callable[..., Any], Replacement] = field(default_factory=dict)
    results: dict[Any, Result] = field(default_factory=dict)
    corrections: dict[Any, Correction] = field(default_factory=dict)
    outputs_on_cpu: dict[Any, tuple[int, ...]] = field(default_factory=dict)


_REGISTERED = {device: Kernels() for device in DEVICES}


def kernels_on(device: str) -> Kernels:
    """What is registered for `device`: "cuda" or "cpu"."""
    return _REGISTERED[device]


def replaces(function: Callable[..., Any], *, on: str | Iterable[str] = DEVICES) -> Callable[[Function], Function]:
    """The decorated function makes what runs in place of `function`.

    Raises (the decorator, as those below):
        RuntimeError: there is one for this function and this device already.
    """
    return _entering("replacements", (function,), on)


def result_of(*operators: Any, on: str | Iterable[str] = DEVICES) -> Callable[[Function], Function]:
    """The decorated function answers for `operators`; the fake kernel is not asked."""
    return _entering("results", operators, on)


def corrects(*operators: Any, on: str | Iterable[str]) -> Callable[[Function], Function]:
    """The decorated function makes of the fake result of `operators` what the device returns."""
    return _entering("corrections", operators, on)


def outputs_on_cpu(operator: Any, *positions: int) -> None:
    """A real run on a GPU puts these results of `operator` on the CPU, though the fake kernel says otherwise."""
    _enter("outputs_on_cpu", operator, "cuda", positions)


def _entering(table: str, keys: Iterable[Any], on: str | Iterable[str]) -> Callable[[Function], Function]:
    devices = (on,) if isinstance(on, str) else tuple(on)

    def decorate(function: Function) -> Function:
        for device, key in product(devices, keys):
            _enter(table, key, device, function)
        return function

    return decorate


def _enter(table: str, key: Any, device: str, value: Any) -> None:
    known = getattr(_REGISTERED[device], table)
    if key in known:
        name = getattr(key, "__name__", key)
        raise RuntimeError(f"{name} is in {table} of {device} already: {known[key]}, and now {value}")
    known[key] = value
