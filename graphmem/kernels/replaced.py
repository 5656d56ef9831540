"""The functions whose kernel torch chooses in C++ by what it was compiled with, run as the machine would run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from graphmem.errors import MissingKernelError
from graphmem.kernels.batch_norm import batch_norm_as_on
from graphmem.kernels.ctc import ctc_loss_as_on
from graphmem.kernels.sdpa.call import attention_as_on, attention_on_cpu
from graphmem.machine import Machine
from graphmem.record import Trace

# Each is a function of torch.nn.functional with what makes its stand-in for a machine and a trace.
REPLACED: dict[Callable[..., Any], Callable[[Machine, Trace], Callable[..., torch.Tensor]]] = {
    F.scaled_dot_product_attention: attention_as_on,
    F.batch_norm: batch_norm_as_on,
    F.ctc_loss: ctc_loss_as_on,
}


# On the CPU torch decides by itself which kernel of attention runs, and it is only noted.
ON_CPU: dict[Callable[..., Any], Callable[[Machine, Trace], Callable[..., torch.Tensor]]] = {
    F.scaled_dot_product_attention: attention_on_cpu,
    F.ctc_loss: ctc_loss_as_on,
}

# torch reads tensors in a list one by one in C++, where nothing can answer for a fake one.
_READING = (torch.tensor, torch.Tensor.__getitem__, torch.Tensor.__setitem__)
_OPAQUE = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)


class KernelsAsOn(TorchFunctionMode):
    """Inside the block the functions above run as on `machine`. On the CPU torch decides by itself.

    As a mode it also catches a function where someone imported it by name. The names in torch.nn.functional are
    replaced as well, since a mode is off inside functions that it was shown whole: multi_head_attention_forward.
    """

    def __init__(self, machine: Machine, trace: Trace) -> None:
        super().__init__()
        self._on_cuda = machine.device == "cuda"
        makers = REPLACED if machine.device == "cuda" else ON_CPU
        self._stand_ins = {original: make(machine, trace) for original, make in makers.items()}

    def __enter__(self) -> KernelsAsOn:
        for original, stand_in in self._stand_ins.items():
            setattr(F, original.__name__, stand_in)
        super().__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        for original in self._stand_ins:
            setattr(F, original.__name__, original)
        super().__exit__(*exc)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _OPAQUE and self._on_cuda:
            raise MissingKernelError(
                f"{func.__name__} runs in cuDNN on a GPU and keeps a reserve whose size only cuDNN knows",
                hint="--device cpu shows the rest of the model; recurrent layers are not analysed for a GPU",
            )
        if func in _READING:
            args = _with_numbers(func, args)
        return self._stand_ins.get(func, func)(*args, **(kwargs or {}))


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
