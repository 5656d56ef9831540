"""`RunAsOn`: torch's functions as the machine would run them, where torch itself chooses in C++ by how it was built."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from graphmem.kernels.moves import MOVES
from graphmem.kernels.registry import kernels_on
from graphmem.machine import Machine
from graphmem.patches import patched
from graphmem.record import Trace
from graphmem.usercode.interrupts import come

# torch reads tensors in a list one by one in C++, where nothing can answer for a fake one.
_READING = (torch.tensor, torch.Tensor.__getitem__, torch.Tensor.__setitem__)


class RunAsOn(TorchFunctionMode):
    """Inside the block every function that a kernel of this room replaces runs as on `machine`.

    As a mode it also catches a function where someone imported it by name. The names in torch.nn.functional are
    replaced as well, since a mode is off inside functions that it was shown whole: multi_head_attention_forward.
    """

    def __init__(self, machine: Machine, trace: Trace) -> None:
        super().__init__()
        makers = kernels_on(machine.device).replacements
        self._replacements = {original: make(machine, trace) for original, make in makers.items()}
        self._methods = MOVES if machine.device == "cuda" else {}
        self._names = ExitStack()

    def __enter__(self) -> RunAsOn:
        with ExitStack() as names:  # where something raises, what was replaced until then is put back
            for original, replacement in self._replacements.items():
                if hasattr(F, original.__name__):
                    names.enter_context(patched(F, original.__name__, replacement))
            super().__enter__()
            self._names = names.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        with self._names:
            super().__exit__(*exc)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        come()  # Ctrl-C that came within torch
        if func in _READING:
            args = _with_numbers(func, args)
        own = self._methods.get(func) or self._replacements.get(func, func)
        return own(*args, **(kwargs or {}))


def _with_numbers(func: Any, args: Any) -> Any:
    """The arguments with numbers in place of tensors that are in lists: torch.tensor([n, m]), x[rows, columns]."""
    if func is torch.tensor:
        return (_numbers(args[0]), *args[1:]) if args else args
    tensor, index, *rest = args
    parts = tuple(_numbers(part) for part in index) if isinstance(index, tuple) else _numbers(index)
    return (tensor, parts, *rest)


def _numbers(data: Any) -> Any:
    if not isinstance(data, (list, tuple)) or not any(isinstance(part, (torch.Tensor, list, tuple)) for part in data):
        return data
    return [part.item() if isinstance(part, torch.Tensor) and part.dim() == 0 else _numbers(part) for part in data]
