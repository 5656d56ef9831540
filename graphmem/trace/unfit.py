"""Tensors for which there is no fake: they have no size, no strides, or more behind them than one storage."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.parameter import is_lazy

from graphmem._torch import FakeTensor
from graphmem.errors import ModelError

_PLAIN = {torch.Tensor, torch.nn.Parameter, torch.nn.Buffer}


def refuse_unfit(tensor: torch.Tensor, name: str) -> None:
    """Refuse a tensor that a fake one cannot stand for.

    Args:
        name: what to call it: "parameter z.weight".

    Raises:
        ModelError: the tensor is one.
    """
    if type(tensor) in (*_PLAIN, FakeTensor) and tensor.layout is torch.strided and not tensor.is_quantized:
        if tensor.is_nested:
            raise _nested(name)
        return
    if is_lazy(tensor):
        raise ModelError(
            f"{name} has no size yet",
            hint="run the model once on a small input, or give the sizes: nn.Linear(n, m) in place of nn.LazyLinear(m)",
        )
    if tensor.is_nested:
        raise _nested(name)
    if tensor.layout is not torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        raise ModelError(f"{name} is {layout}, and only strided tensors can be analysed", hint="tensor.to_dense()")
    if tensor.is_quantized:
        raise ModelError(f"{name} is quantized, and what autograd keeps of it is not known", hint="tensor.dequantize()")
    _refuse_subclass(tensor, name)


def _nested(name: str) -> ModelError:
    return ModelError(
        f"{name} is a nested tensor, whose size is not that of one tensor",
        hint="pass a padded tensor, or the values and the offsets as plain tensors",
    )


def _refuse_subclass(tensor: torch.Tensor, name: str) -> None:
    """A DTensor says the size of all ranks' tensors together and holds its own rank's; others hold packed numbers. What
    only adds methods to a tensor is as good as one."""
    kind = type(tensor)
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise ModelError(
            f"{name} is a {kind.__name__}, a subclass of torch.Tensor that runs operators itself: its size is not that "
            "of what it holds",
            hint="analyse the model before it is sharded or quantized, or with plain tensors: DTensor.to_local()",
        )
    if _function_of(kind) not in {_function_of(plain) for plain in _PLAIN}:
        raise ModelError(
            f"{name} is a {kind.__name__}, a subclass of torch.Tensor with a __torch_function__ of its own, which a "
            "trace would not run",
            hint="tensor.as_subclass(torch.Tensor)",
        )


def _function_of(kind: Any) -> object:
    function = kind.__torch_function__
    return getattr(function, "__func__", function)
