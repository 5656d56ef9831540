"""`compile_apart`: a trace without torch.compile, which compiles nothing here and takes long to import.

torch imports `torch._dynamo` in passing: FakeTensorMode reads two of its settings, and functions that torch.compile
must not look into are wrapped by `torch._dynamo.disable` when they are first called (FakeTensorMode.__init__ in
torch/_subclasses/fake_tensor.py and _disable_dynamo in torch/_compile.py, 2.11 to 2.13). Where it is not imported yet,
a module with these two things stands in its place during a trace. Whoever asks it for anything else, imports one of its
modules, or is in another thread, gets the real one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

import torch

from graphmem._torch import DYNAMO, DYNAMO_ASKING, DYNAMO_DISABLED, DYNAMO_SETTINGS
from graphmem.patches import Here

_ATTRIBUTE = DYNAMO.rpartition(".")[2]


class _Small(ModuleType, MetaPathFinder):
    """`torch._dynamo` as far as a trace needs it, and the finder of its modules."""

    def __init__(self, spec: ModuleSpec, path: list[str]) -> None:
        super().__init__(DYNAMO)
        self.__spec__, self.__path__ = spec, path  # importlib.util.find_spec answers with the module's own
        self._here, self._lock = Here(), threading.Lock()
        self._left: list[FunctionType] = []
        self.config: ModuleType | None = None

    def enter(self) -> None:
        sys.modules[DYNAMO] = self
        setattr(torch, _ATTRIBUTE, self)
        self.config = importlib.import_module(DYNAMO_SETTINGS)
        sys.meta_path.insert(0, self)

    def leave(self) -> None:
        """Make way for the real package, which wraps again what it has to. Other threads may come here, too."""
        with self._lock:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            if sys.modules.get(DYNAMO) is self:
                del sys.modules[DYNAMO]
            if vars(torch).get(_ATTRIBUTE) is self:
                delattr(torch, _ATTRIBUTE)
            for function in self._left:
                if vars(function).get(DYNAMO_DISABLED) is function:
                    delattr(function, DYNAMO_DISABLED)

    def disable(self, *args: Any, **options: Any) -> Any:
        """For torch's own lazy wrapper the function itself: nothing compiles, so nothing has to be kept from it.

        The user's function would stay as it is after the trace. Only the wrapper asks again.
        """
        asking = sys._getframe(1).f_globals.get("__name__") == DYNAMO_ASKING
        if self._here and asking and args and isinstance(args[0], FunctionType):
            self._left.append(args[0])
            return args[0]
        return self.__getattr__("disable")(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect asks every module for its __file__
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(DYNAMO), name)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """A module of the real package: all of that is imported first, in its own order."""
        if not name.startswith(f"{DYNAMO}."):
            return None
        self.leave()
        importlib.import_module(DYNAMO)
        module = importlib.import_module(name)
        return ModuleSpec(name, _Imported(module), is_package=hasattr(module, "__path__"))


class _Imported(Loader):
    """A module that was imported while it was looked for."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._attributes = module, {n: vars(module).get(n) for n in ("__spec__", "__loader__")}

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self._attributes)


@contextmanager
def compile_apart() -> Iterator[None]:
    """Keep torch from importing torch.compile in passing; where it is imported already, nothing is done."""
    spec = None if DYNAMO in sys.modules else importlib.util.find_spec(DYNAMO)
    if spec is None or spec.submodule_search_locations is None:
        yield
        return
    small = _Small(spec, list(spec.submodule_search_locations))
    try:
        small.enter()
        yield
    finally:
        small.leave()
