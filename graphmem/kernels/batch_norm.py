"""`F.batch_norm` as the machine would run it: with cuDNN where torch takes that on CUDA.

A build without cuDNN always takes the native kernel, which saves the input as it is. cuDNN's works on a contiguous
copy, saves that, and gives a contiguous output. On the CPU the native kernel's output has another layout than the fake
one, which decides whether the next reshape copies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from graphmem._torch import suggest_memory_format
from graphmem.kernels.norms import norm_on_cpu
from graphmem.kernels.registry import corrects, replaces
from graphmem.machine import Machine
from graphmem.record import Trace

_MOST_TRAINED, _MOST_EVALUATED = 880801, 65535
_ORIGINAL = F.batch_norm


@replaces(F.batch_norm, on="cuda")
def batch_norm_as_on(machine: Machine, _trace: Trace) -> Callable[..., torch.Tensor]:
    """F.batch_norm with the kernel that `machine` takes."""

    def batch_norm(
        input: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if weight is None or not _takes_cudnn(input, running_mean, weight, bias, training, machine):
            return _ORIGINAL(input, running_mean, running_var, weight, bias, training, momentum, eps)
        dense = input.contiguous(memory_format=suggest_memory_format(input))
        result: torch.Tensor = torch.ops.aten.cudnn_batch_norm(
            dense, weight, bias, running_mean, running_var, training, momentum, eps
        )[0]
        return result

    return batch_norm


def _takes_cudnn(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    training: bool,
    machine: Machine,
) -> bool:
    """_batch_norm_impl_index in aten/src/ATen/native/Normalization.cpp (torch 2.11)."""
    return (
        machine.cudnn > 0
        and torch.backends.cudnn.enabled
        and bias is not None
        and torch.bfloat16 not in (x.dtype, weight.dtype)
        and (x.dtype != torch.float16 or weight.dtype == torch.float32)
        and (running_mean is not None or training)
        and x.dim() >= 3
        and x.shape[0] <= (_MOST_TRAINED if training else _MOST_EVALUATED)
    )


@corrects(torch.ops.aten.native_batch_norm.default, on="cpu")
def batch_norm_on_cpu(args: tuple[Any, ...], result: Any) -> Any:
    """The output is contiguous in the input's suggested memory format; the fake one has the input's strides
    (batch_norm_cpu in aten/src/ATen/native/Normalization.cpp). The statistics are those of the other norms."""
    output, *statistics = norm_on_cpu(args, result)
    return (torch.empty_like(output, memory_format=suggest_memory_format(args[0])), *statistics)
