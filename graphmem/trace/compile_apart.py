"""`compile_apart`: a trace without torch.compile, which compiles nothing here and takes long to import.

torch imports `torch._dynamo` in passing: FakeTensorMode reads two of its settings, and functions that torch.compile
must not look into are wrapped by `torch._dynamo.disable` when they are first called (FakeTensorMode.__init__ in
torch/_subclasses/fake_tensor.py and _disable_dynamo in torch/_compile.py, 2.11 to 2.13). Where it is not imported yet,
a module with these two things stands in its place during a trace. Whoever asks it for anything else gets the real one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_PACKAGE, _SETTINGS = "torch._dynamo", "torch._dynamo.config"
# Where torch._compile remembers what `disable` gave for a function.
_REMEMBERED = "__dynamo_disable"


class _Small(ModuleType):
    """`torch._dynamo` as far as a trace needs it."""

    def __init__(self, path: list[str]) -> None:
        super().__init__(_PACKAGE)
        self._path: list[str] | None = path
        self._left: list[Callable[..., Any]] = []
        self.config: ModuleType | None = None

    def disable(self, function: Callable[..., Any], _recursive: bool = True, **_options: Any) -> Callable[..., Any]:
        """`function` itself: nothing compiles, so nothing has to be kept from it."""
        self._left.append(function)
        return function

    def __getattr__(self, name: str) -> Any:
        if name == "__path__" and self._path is not None:
            path, self._path = self._path, None  # for the settings alone
            return path
        if name.startswith("__") and name != "__path__":  # inspect asks every module for its __file__
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(_PACKAGE), name)

    def leave(self) -> None:
        """Make way for the real package, which wraps again what it has to."""
        if sys.modules.get(_PACKAGE) is self:
            del sys.modules[_PACKAGE]
        if vars(torch).get("_dynamo") is self:
            del torch._dynamo
        for function in self._left:
            vars(function).pop(_REMEMBERED, None)
        self._left.clear()


@contextmanager
def compile_apart() -> Iterator[None]:
    """Keep torch from importing torch.compile in passing; where it is imported already, nothing is done."""
    spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        yield
        return
    small = _Small(list(spec.submodule_search_locations))
    sys.modules[_PACKAGE] = torch._dynamo = small
    try:
        small.config = importlib.import_module(_SETTINGS)
        yield
    finally:
        small.leave()
