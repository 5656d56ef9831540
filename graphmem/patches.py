"""Attributes replaced for one thread: a training loop in another one goes on with the originals."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Here:
    """True in the thread that made it, and false in all others. A hook or a finder serves the whole process, and asks
    this whether to act."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def __bool__(self) -> bool:
        return threading.get_ident() == self._thread


# Threads that replace the same function each put a wrapper on it, and may leave in any order.
_ONE_AT_A_TIME = threading.RLock()
_MISSING = object()


class _Patch:
    """A wrapper on `owner.name`, above whatever stands there: the original, or the wrapper of another patch."""

    def __init__(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        self._owner, self._name, self._here, self._over = owner, name, Here(), False
        with _ONE_AT_A_TIME:
            original = getattr(owner, name)
            self._before = vars(owner).get(name, _MISSING)

            @functools.wraps(original)
            def either(*args: Any, **kwargs: Any) -> Any:
                return (replacement if self._here and not self._over else original)(*args, **kwargs)

            self._wrapper = weakref.ref(either)  # weak, so that all goes away at once: a replacement may hold a trace
            either.graphmem_patch = self  # type: ignore[attr-defined]
            setattr(owner, name, either)

    def leave(self) -> None:
        """Put back what was there. Below a wrapper that is still in use, this one stays and calls the original."""
        with _ONE_AT_A_TIME:
            self._over = True
            if _patch_on(self._owner, self._name) is None:  # the user's code has replaced it in turn
                self._put_back()
            while (top := _patch_on(self._owner, self._name)) is not None and top._over:
                top._put_back()

    def _put_back(self) -> None:
        if self._before is not _MISSING:
            setattr(self._owner, self._name, self._before)
        elif self._name in vars(self._owner):
            delattr(self._owner, self._name)


def _patch_on(owner: Any, name: str) -> _Patch | None:
    """The patch whose wrapper stands there; a wrapper around that one is not it, though it looks the same."""
    function = getattr(owner, name)
    patch: _Patch | None = getattr(function, "graphmem_patch", None)
    return patch if patch is not None and patch._wrapper() is function else None


@contextmanager
def patched(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Inside the block, the function `owner.name` is `replacement` in this thread and itself in all others.

    Code that took a reference to it during the block calls the original afterwards.
    """
    patch = _Patch(owner, name, replacement)
    try:
        yield
    finally:
        patch.leave()
