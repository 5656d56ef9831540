"""`Home`: the folder of a target, and the modules that its file brought along.

Another target may have a `layers.py` of its own beside it. So what a file imports from its folder is in `sys.modules`
only while that target's code runs, and so is its folder on `sys.path`. What is installed, or what the caller has
imported itself from the same file, is shared as ever.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from graphmem.usercode.paths import beginning, is_users

P = ParamSpec("P")
T = TypeVar("T")
_thread = threading.local()


class Home:
    """The modules of one folder's targets. Without a folder it has none, and to enter it changes nothing."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._modules: dict[str, ModuleType] = {}
        self._path = [folder] if folder is not None else []

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside the block the target's code finds its own modules."""
        if self._folder is None or getattr(_thread, "home", None) is self:
            yield
            return
        outer, path = getattr(_thread, "home", None), list(sys.path)
        aside = self._in_the_way()
        for name in aside:
            del sys.modules[name]
        there = set(sys.modules)
        sys.modules.update(self._modules)
        sys.path[:0] = [folder for folder in self._path if folder not in sys.path]
        _thread.home = self
        try:
            yield
        finally:
            _thread.home = outer
            self._leave(there, path)
            sys.modules.update(aside)

    def wrap(self, function: Callable[P, T]) -> Callable[P, T]:
        """The same function, called inside."""

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.entered():
                return function(*args, **kwargs)

        return inside

    def _in_the_way(self) -> dict[str, ModuleType]:
        """The modules that have a name which the folder has for another file, or for another copy."""
        here = _importable(str(self._folder)) - {"__main__"}
        possible = {n: m for n, m in list(sys.modules.items()) if n.partition(".")[0] in here or n in self._modules}
        return {n: m for n, m in possible.items() if n in self._modules or self._is_another(n, m)}

    def _is_another(self, name: str, module: Any) -> bool:
        file = _file_of(sys.modules.get(name.partition(".")[0], module))
        return file is not None and is_users(file) and not _real(file).startswith(beginning(_real(str(self._folder))))

    def _leave(self, there: set[str], path: list[str]) -> None:
        """Keep what is the target's own, and take it and its folders off the process."""
        self._path += [folder for folder in sys.path if folder not in path and folder not in self._path]
        sys.path[:] = [folder for folder in sys.path if folder in path or folder not in self._path]
        new = {n: m for n in list(sys.modules.keys() - there) if (m := sys.modules.get(n)) is not None}
        made = {n for n, m in new.items() if "." not in n and _is_made_by_hand(m)}
        brought = {n: m for n, m in new.items() if n.partition(".")[0] in made or _is_source_of_users(m)}
        for name in brought:
            del sys.modules[name]
        shared = {name.partition(".")[0]: None for name in brought}
        tops = {top for top in shared if top in brought and _is_found_by_all(top, brought[top])}
        for name, module in brought.items():
            if name.partition(".")[0] in tops:
                sys.modules[name] = module
                self._modules.pop(name, None)
            else:
                self._modules[name] = module


@functools.cache
def home_of(folder: str) -> Home:
    """The home of all targets in a folder: they share their helpers, which may register operators when imported."""
    return Home(folder)


def _importable(folder: str) -> set[str]:
    """The names of modules that stand in a folder."""
    with suppress(OSError), os.scandir(folder or ".") as entries:
        return {e.name.removesuffix(".py") for e in entries if e.name.endswith(".py") or e.is_dir()}
    return set()


def _file_of(module: Any) -> str | None:
    file = getattr(module, "__file__", None)
    if file is None:  # a package without __init__.py
        with suppress(Exception):
            return str(next(iter(module.__path__)))
    return file if isinstance(file, str) else None


def _real(path: str) -> str:
    return os.path.realpath(path)


def _is_source_of_users(module: Any) -> bool:
    """An extension in C is not loaded twice."""
    file = _file_of(module)
    return file is not None and is_users(file) and (file.endswith(".py") or os.path.isdir(file))


def _is_made_by_hand(module: Any) -> bool:
    """Nothing was imported: code has put it into sys.modules, mostly in place of a package that is not installed."""
    names = vars(module) if isinstance(module, ModuleType) else {}
    return names.get("__file__") is None and names.get("__spec__") is None and names.get("__path__") is None


def _is_found_by_all(top: str, module: ModuleType) -> bool:
    """Whether the process imports that very file by itself, as it does what is installed for development."""
    here, path = ["", "."], list(sys.path)
    with suppress(FileNotFoundError):  # the model's code has removed it
        here.append(str(Path.cwd()))
    sys.path[:] = [folder for folder in path if folder not in here]
    try:
        spec = importlib.util.find_spec(top)
    except Exception:  # a finder of the user's
        return False
    finally:
        sys.path[:] = path
    file = _file_of(module)
    return spec is not None and file is not None and spec.origin is not None and _real(spec.origin) == _real(file)
