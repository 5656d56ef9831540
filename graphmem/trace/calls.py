"""`Calls`: which module is running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from graphmem.patches import Here
from graphmem.record import Call, Trace
from graphmem.usercode.layers import is_layer_list


class Calls:
    """Writes the module calls of one forward, and the lists of layers, into `record`.

    now: index of the innermost call under way, -1 outside of all.
    """

    def __init__(self, record: Trace, module: torch.nn.Module) -> None:
        self._record = record
        named = list(_named(module))
        self._names = {id(m): name for name, m in reversed(named)}  # a shared module goes by its first name
        record.containers = frozenset(name for name, m in named if is_layer_list(m))
        self._around: list[tuple[int, torch.nn.Module | None]] = []
        self._module: torch.nn.Module | None = None
        self._here = Here()  # torch's hooks see the modules of every thread
        self.now = -1

    @property
    def path(self) -> str:
        """The path of the module that is running; "" outside of all."""
        return self._record.calls[self.now].path if self.now >= 0 else ""

    def take_over(self, original: Trace) -> None:
        """The calls are those of another trace; from here on `now` says which is under way. For a replay, which calls
        no modules."""
        self._record.calls, self._record.containers = list(original.calls), original.containers

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Note every module call in the block."""
        hooks = torch.nn.modules.module
        enter = hooks.register_module_forward_pre_hook(self._enter)
        leave = hooks.register_module_forward_hook(self._leave)
        try:
            yield
        finally:
            enter.remove()
            leave.remove()

    def _enter(self, module: torch.nn.Module, _args: Any) -> None:
        if not self._here:
            return
        path = self._names.get(id(module))
        if path is None:
            path = self._named_by_its_caller(module)
        self._around.append((self.now, self._module))
        self._module = module
        self._record.calls.append(Call(path, type(module).__name__, self.now))
        self.now = len(self._record.calls) - 1

    def _leave(self, _module: torch.nn.Module, _args: Any, _output: Any) -> None:
        if self._here:
            self.now, self._module = self._around.pop()

    def _named_by_its_caller(self, module: torch.nn.Module) -> str:
        """The path of a module that forward made: the caller's name for it, or else its class."""
        children = dict(self._module.named_children()) if self._module is not None else {}
        name = next((n for n, child in children.items() if child is module), type(module).__name__)
        return f"{self.path}.{name}".lstrip(".")


def _named(
    module: torch.nn.Module, path: str = "", around: tuple[torch.nn.Module, ...] = ()
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every module under every name that it has, but not those within itself: a module may hold its owner."""
    yield path, module
    around = (*around, module)
    for name, child in module._modules.items():
        if child is not None and all(child is not one for one in around):
            yield from _named(child, f"{path}.{name}".lstrip("."), around)
