"""The real thing: a model with weights and inputs with values, on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from graphmem._torch import convert_tensors, default_device
from graphmem.errors import ModelError
from graphmem.escapes import said
from graphmem.load import Subject
from graphmem.trace.inputs import children, named_tensors

_HINT = "a real run needs values: give the functions that build it, or real tensors"


def real_model(subject: Subject, point: dict[str, int], device: str, dtype: torch.dtype | None) -> nn.Module:
    """The model at `point`, initialised on `device` as its author's code does.

    Args:
        dtype: floating-point parameters and buffers become this; None leaves them.

    Raises:
        ModelError: the author's code raised, or left a parameter without values.
    """
    with _default_device(device):
        module = subject.build_real(point)
    blank = next((name for name, p in module.named_parameters() if p.is_meta), None)
    if blank is not None:
        raise ModelError(f"parameter {blank} is on the meta device", hint=_HINT)
    try:
        module.to(device)
    except Exception as error:
        raise ModelError(
            f"the model cannot be moved to {device}: {type(error).__name__}: {said(error)}",
            hint="model.to(device) has to work, as in training",
        ) from error
    if dtype is not None:
        convert_tensors(module, lambda t: t.to(dtype) if t.is_floating_point() else t)
    return module


@contextmanager
def _default_device(device: str) -> Iterator[None]:
    """What the author's code makes lies on `device`, unless it says otherwise. A block with torch.device() would not
    do: where set_default_device is called within one, it leaves a device on torch's stack of modes."""
    before = default_device()
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(before)


def real_inputs(subject: Subject, point: dict[str, int], device: str, dtype: torch.dtype | None) -> Any:
    """The inputs at `point`, made on the CPU and moved to `device`; a tensor that is in them twice stays one tensor."""
    inputs = subject.make_inputs(point, True)
    blank = next((name for name, t in named_tensors(inputs).items() if t.is_meta), None)
    if blank is not None:
        raise ModelError(f"input {blank or 'tensor'} is on the meta device", hint=_HINT)
    return _moved(inputs, device, dtype, {})


def _moved(value: Any, device: str, dtype: torch.dtype | None, made: dict[int, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        if id(value) not in made:
            wanted = dtype if value.is_floating_point() else None
            made[id(value)] = value.detach().to(device, wanted).requires_grad_(value.requires_grad)
        return made[id(value)]
    parts = {key: _moved(part, device, dtype, made) for key, _, part in children(value, "")}
    if isinstance(value, dict):
        return parts
    return type(value)(parts.values()) if type(value) in (list, tuple) else value
