"""What `torch.cuda` answers during a trace: for the machine to analyse for, not for the one that this runs on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from graphmem.machine.idle import idle_functions
from graphmem.machine.machine import Machine
from graphmem.patches import patched

# (owner, name, function)
Functions = list[tuple[Any, str, Callable[..., Any]]]


@dataclass(frozen=True, kw_only=True)
class _Answering:
    """For which machine this thread's `torch.cuda` speaks, None: the one at hand; and what it is when nobody speaks."""

    machine: Machine | None = None
    building: bool = False
    real: Functions = field(default_factory=list)


_thread = threading.local()


def _now() -> _Answering:
    return getattr(_thread, "answering", None) or _Answering()


def device_meant() -> str:
    """Where a model that is built now belongs: during a trace on the machine's device, else on torch's default one."""
    import torch

    return "cuda" if _now().machine is not None else torch.get_default_device().type


@contextmanager
def answering_as(machine: Machine, *, building: bool = False) -> Iterator[None]:
    """Let `torch.cuda` speak for `machine` in this thread until the block ends. With device "cpu" it tells the truth,
    also where another analysis is under way, whose model analyses another one.

    Args:
        building: the model is only being built: then `torch.cuda.is_available` answers for the machine to transformers
            alone, which asks whether flash-attn could run. Anyone else would move weights to a GPU that is not there.
    """
    now = _now()
    meant = _Answering(machine=machine, building=building) if machine.device == "cuda" else _Answering()
    if (meant.machine, meant.building) == (now.machine, now.building):
        yield
        return

    answers = _answers(machine, building, now.real) if meant.machine is not None else now.real
    real = now.real or [(owner, name, getattr(owner, name)) for owner, name, _ in answers]
    _thread.answering = replace(meant, real=real)
    try:
        with ExitStack() as stack:
            for owner, name, answer in answers:
                stack.enter_context(patched(owner, name, answer))
            yield
    finally:
        _thread.answering = now


def _answers(machine: Machine, building: bool, real: Functions) -> Functions:
    import torch

    from graphmem._torch import NO_CUDA_AUTOCAST

    gpu = machine.gpu
    properties = SimpleNamespace(
        name=gpu.name,
        major=gpu.capability[0],
        minor=gpu.capability[1],
        total_memory=gpu.memory,
        warp_size=32,
        gcnArchName="",
        **({} if gpu.sms is None else {"multi_processor_count": gpu.sms}),
    )
    really_available = next((f for _, name, f in real if name == "is_available"), torch.cuda.is_available)

    def is_available() -> bool:
        # torch itself must hear the truth: told that there is a GPU, fake mode makes a real CUDA tensor. Frame 1 is the
        # patch's own.
        caller = sys._getframe(2).f_globals.get("__name__", "").split(".")[0]
        pretends = caller == "transformers" if building else caller != "torch"
        return pretends or really_available()

    bf16 = gpu.capability >= (8, 0)
    return [
        (torch.cuda, "is_available", is_available),
        (torch.cuda, "device_count", lambda: 1),
        (torch.cuda, "current_device", lambda: 0),
        (torch.cuda, "get_device_name", lambda device=None: gpu.name),
        (torch.cuda, "get_device_capability", lambda device=None: gpu.capability),
        (torch.cuda, "get_device_properties", lambda device=None: properties),
        (torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation),
        (torch.cuda, "synchronize", lambda device=None: None),
        *idle_functions(gpu.memory),
        # torch.autocast("cuda") switches itself off where this says so (torch/amp/autocast_mode.py).
        (*NO_CUDA_AUTOCAST, lambda: False),
    ]
