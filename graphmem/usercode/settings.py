"""Settings of the process: what the user's code changes during an analysis is put back, and nothing else.

They are the whole process's. Another thread, which trains, changes them as well: it leaves a `sdpa_kernel` block, or
sets an environment variable. So beside other threads a setting is compared around the blocks in which the user's code
runs; alone, around the whole analysis.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch

from graphmem._torch import default_device

T = TypeVar("T")
Setting = tuple[str, Callable[[], Any], Callable[[Any], None]]


def _set_default_device(device: Any) -> None:
    torch.set_default_device(device)


def _set_gradients(enabled: bool) -> None:
    torch.set_grad_enabled(enabled)


def _set_deterministic(state: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # removed by the model's code
        return "a folder that is gone"


def _attribute(owner: Any, name: str, label: str) -> Setting:
    return label, lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


_SETTINGS: tuple[Setting, ...] = (
    ("the working directory", _working_directory, os.chdir),
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's default device", default_device, _set_default_device),
    ("torch's gradient mode", torch.is_grad_enabled, _set_gradients),
    (
        "torch's deterministic mode",
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        _set_deterministic,
    ),
    ("torch's float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    ("autocast for cuda", lambda: torch.is_autocast_enabled("cuda"), lambda v: torch.set_autocast_enabled("cuda", v)),
    ("autocast for cpu", lambda: torch.is_autocast_enabled("cpu"), lambda v: torch.set_autocast_enabled("cpu", v)),
    ("flash attention's switch", torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    (
        "efficient attention's switch",
        torch.backends.cuda.mem_efficient_sdp_enabled,
        torch.backends.cuda.enable_mem_efficient_sdp,
    ),
    ("math attention's switch", torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
    ("cuDNN attention's switch", torch.backends.cuda.cudnn_sdp_enabled, torch.backends.cuda.enable_cudnn_sdp),
    (
        "math attention's reduced precision",
        torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed,
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp,
    ),
    _attribute(torch.backends.cudnn, "benchmark", "cuDNN's benchmark mode"),
    _attribute(torch.backends.cudnn, "deterministic", "cuDNN's deterministic mode"),
    _attribute(sys, "argv", "sys.argv"),
)

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
        said = [_put_back(setting, *self.settings[setting[0]]) for setting in _SETTINGS if setting[0] in self.settings]
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
        self.settings = {label: get() for label, get, _ in _SETTINGS}
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
        said = changes.put_back()
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
        return f"{label} was changed to {left} {_NOT_PUT_BACK}"
    return f"{label} was changed to {left} {_BY_THE_MODEL}"


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
