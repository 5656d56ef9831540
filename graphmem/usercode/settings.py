"""Settings of the process: what the user's code changes during an analysis is put back, and nothing else.

They are the whole process's. Another thread, which trains, changes them as well: it leaves a `sdpa_kernel` block, or
sets an environment variable. So beside other threads a setting is compared around the blocks in which the user's code
runs; alone, around the whole analysis.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch

from graphmem.usercode.switches import SETTINGS, Setting

T = TypeVar("T")

_LONGEST = 200
_BY_THE_MODEL = "by the model's code; put back after the analysis"
_NOT_PUT_BACK = "by the model's code; it cannot be put back"


class _Changes:
    """What the user's code changed during one analysis: the value before, and the one that it left.

    watching: a block that compares is under way, and those within it have nothing to add.
    """

    def __init__(self) -> None:
        self.watching = False
        self.settings: dict[str, tuple[Any, Any]] = {}
        self.environment: dict[str, tuple[str | None, str | None]] = {}
        self.path: tuple[list[str], list[str]] | None = None

    def note(self, before: _State, after: _State) -> None:
        for label, value in before.settings.items():
            if after.settings[label] != value:
                self.settings[label] = _joined(self.settings.get(label), value, after.settings[label])
        for name in before.environment.keys() | after.environment.keys():
            old, new = before.environment.get(name), after.environment.get(name)
            if old != new:
                self.environment[name] = _joined(self.environment.get(name), old, new)
        if before.path != after.path:
            self.path = _joined(self.path, before.path, after.path)

    def put_back(self) -> list[str]:
        """What nobody has changed since. Gives a sentence for each setting and for the environment."""
        said = [_put_back(setting, *self.settings[setting[0]]) for setting in SETTINGS if setting[0] in self.settings]
        if self.path is not None:
            _put_path_back(*self.path)
        for name, (value, left) in self.environment.items():
            if os.environ.get(name) == left:
                _set_variable(name, value)
        changed = (n for n, (value, left) in self.environment.items() if value != left)
        names = ", ".join(sorted(n for n in changed if not n.startswith("TORCHINDUCTOR_")))  # torch sets these itself
        if names:
            said.append(f"the environment was changed ({names}) {_BY_THE_MODEL}")
        return list(filter(None, said))


def _joined(earlier: tuple[T, T] | None, before: T, after: T) -> tuple[T, T]:
    """Two changes as one, unless somebody else has changed it between them."""
    return (earlier[0] if earlier is not None and earlier[1] == before else before, after)


class _State:
    """The settings as they are now."""

    def __init__(self) -> None:
        self.settings = {label: get() for label, get, _ in SETTINGS}
        self.environment, self.path = dict(os.environ), list(sys.path)


# Of the analyses under way in this thread, which are inside each other.
_thread = threading.local()


@contextmanager
def kept_settings(notes: list[str] | None = None) -> Iterator[None]:
    """At the end of the block, put back what a `changing` block within it changed.

    Args:
        notes: gets a sentence for each setting that was put back, or could not be.
    """
    under_way: list[_Changes] = vars(_thread).setdefault("under_way", [])
    under_way.append(changes := _Changes())
    try:
        with changing() if threading.active_count() == 1 else nullcontext():
            yield
    finally:
        under_way.remove(changes)
        before, said = _State(), changes.put_back()
        for outer in under_way:  # what is put back within an analysis is not somebody else's doing
            if not outer.watching:
                outer.note(before, _State())
        if notes is not None:
            notes += said


@contextmanager
def changing() -> Iterator[None]:
    """The user's code runs inside the block, and may change settings."""
    told = [changes for changes in vars(_thread).get("under_way", ()) if not changes.watching]
    if not told:
        yield
        return
    before = _State()
    for changes in told:
        changes.watching = True
    try:
        yield
    finally:
        after = _State()
        for changes in told:
            changes.watching = False
            changes.note(before, after)


def _put_back(setting: Setting, value: Any, left: Any) -> str | None:
    label, get, put = setting
    if value == left or get() != left:
        return None
    try:
        put(value)
    except Exception:  # a folder that is gone; whatever it is, the other settings are put back
        return f"{label} was changed{_to(left)} {_NOT_PUT_BACK}"
    return f"{label} was changed{_to(left)} {_BY_THE_MODEL}"


def _to(value: Any) -> str:
    """The new value, where it says something in a line."""
    text = str(value) if isinstance(value, (str, int, float, tuple, torch.dtype, torch.device)) else ""
    return f" to {text}" if 0 < len(text) < _LONGEST else ""


def _put_path_back(value: list[str], left: list[str]) -> None:
    if sys.path == left:
        sys.path[:] = value
        return
    for folder in left:  # somebody else has changed it as well: only what was added is taken out
        if folder not in value and folder in sys.path:
            sys.path.remove(folder)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
