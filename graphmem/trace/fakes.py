"""Fake tensors in place of a module's own, for as long as the trace lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from graphmem._torch import FakeTensor, FakeTensorMode, mark_parameter
from graphmem.trace.inputs import children
from graphmem.trace.placed import is_placed
from graphmem.trace.undo import undone
from graphmem.trace.unfit import refuse_unfit

# (name, the fake, its kind, the real value where there is one)
Register = Callable[[str, torch.Tensor, str, torch.Tensor | None], object]


class Faker:
    """Makes fake tensors on one device, the same fake for the same tensor."""

    def __init__(self, mode: FakeTensorMode, device: str, dtype: torch.dtype | None) -> None:
        self._mode, self._device, self._dtype = mode, device, dtype
        self._made: dict[tuple[int, bool], torch.Tensor] = {}
        self._originals: list[torch.Tensor] = []  # so that no id is used twice

    def __call__(
        self, tensor: torch.Tensor, name: str, device: str | None = None, *, attribute: bool = False
    ) -> torch.Tensor:
        """A fake of `tensor`: same sizes, strides, requires_grad; floating types as `dtype` where one was asked for.

        Args:
            name: what to call it in a message: "parameter z.weight".
            device: where it is, if not on the target device.
            attribute: it is a plain attribute of a module. The same tensor as an input has another fake: a module may
                keep its last input, and that one is where it was, and the input is on the target device.

        Raises:
            ModelError: a fake tensor cannot stand for it.
        """
        fake = self._made.get((id(tensor), False))  # also for a parameter under a second name
        fake = fake if fake is not None else self._made.get((id(tensor), attribute))
        if fake is None:
            refuse_unfit(tensor, name)
            dtype = self._dtype if self._dtype is not None and tensor.is_floating_point() else tensor.dtype
            blank = torch.empty_strided(tensor.size(), tensor.stride(), dtype=dtype, device="meta")
            fake = FakeTensor(self._mode, blank, torch.device(device or self._device))
            fake.requires_grad_(tensor.requires_grad)
            if isinstance(tensor, nn.Parameter):
                mark_parameter(fake)  # what nn.Parameter does with a subclass, less a detach
            self._made[id(tensor), attribute] = fake
            self._originals.append(tensor)
        return fake

    def tree(self, value: Any, register: Register, name: str) -> Any:
        """`value` with every tensor in its tuples, namedtuples, lists and dicts replaced."""
        if isinstance(value, torch.Tensor):
            known = (id(value), False) in self._made
            fake = self(value, f"input {name or 'of forward'}")
            if not known:
                register(name, fake, "input", _real(value))
            return fake
        parts = {key: self.tree(part, register, inner) for key, inner, part in children(value, name)}
        if isinstance(value, dict):
            return parts
        if hasattr(type(value), "_make"):
            return value._make(parts.values())
        return type(value)(parts.values()) if type(value) in (list, tuple) else value


@contextmanager
def faked(module: nn.Module, fake: Faker, register: Register) -> Iterator[None]:
    """Give `module` fake parameters, buffers and tensor attributes; put everything back afterwards.

    What forward does to the module is undone too (graphmem.trace.undo).
    """
    with undone(list(module.modules())):
        _fake_tables(module, fake, register)
        _fake_attributes(module, fake, register)
        yield


def _fake_tables(module: nn.Module, fake: Faker, register: Register) -> None:
    """Parameters and buffers, before anything else: an attribute or an input may be one of them."""
    registered: set[int] = set()
    for path, m in module.named_modules():
        for kind, table in (("parameter", m._parameters), ("buffer", m._buffers)):
            names = {key: f"{path}.{key}".lstrip(".") for key in table}
            fakes = {k: fake(t, f"{kind} {names[k]}") if t is not None else None for k, t in table.items()}
            for key, made in fakes.items():
                if made is not None and id(made) not in registered:
                    registered.add(id(made))
                    register(names[key], made, kind, _real(table[key]) if kind == "buffer" else None)
            m.__dict__[f"_{kind}s"] = fakes


def _fake_attributes(module: nn.Module, fake: Faker, register: Register) -> None:
    for path, m in module.named_modules():
        for key, value in list(vars(m).items()):
            if isinstance(value, torch.Tensor):
                name = f"{path}.{key}".lstrip(".")
                # Module.to() leaves a plain tensor where it is; one on meta was meant for the target.
                device = None if value.is_meta or is_placed(value) else value.device.type
                m.__dict__[key] = made = fake(value, f"attribute {name}", device, attribute=True)
                register(name, made, "buffer", _real(value))


def left_on_cpu(module: nn.Module) -> list[str]:
    """The names of plain tensors in a faked module that are on the CPU."""
    fakes = ((f"{path}.{key}", t) for path, m in module.named_modules() for key, t in vars(m).items())
    return [name.lstrip(".") for name, t in fakes if isinstance(t, FakeTensor) and t.fake_device.type == "cpu"]


def _real(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """The tensor itself, where it has values. A copy would not die with its owner: see `Values.settle`."""
    return None if tensor is None or tensor.is_meta or isinstance(tensor, FakeTensor) else tensor
