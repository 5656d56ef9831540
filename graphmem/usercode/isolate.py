"""Leave the process as it was: whatever a model file or a factory sets globally is put back.

A setting that the user's file makes holds during the analysis, since training would see it too.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

import torch

from graphmem._torch import default_device
from graphmem.stand_ins import stand_ins
from graphmem.usercode.randomness import kept_random

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


# Settings, standard output and what a package is imported as are the whole process's: analyses take turns.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def isolated(
    notes: list[str] | None = None, *, keep_stdout_clean: bool = False, standing_in: bool = True
) -> Iterator[None]:
    """Run the block, then put back settings, random state, sys.path, environment and warning filters.

    Within it attention packages that are not installed can be imported (`graphmem.stand_ins`).

    Args:
        notes: gets a sentence for each setting and environment variable that the block changed.
        keep_stdout_clean: all that the block prints goes to stderr, also from C code and child processes.
        standing_in: False for a real run, in which a stand-in has nothing to compute with.
    """
    with _ONE_AT_A_TIME, _put_back_after(notes, keep_stdout_clean, standing_in):
        yield


@contextmanager
def _put_back_after(notes: list[str] | None, keep_stdout_clean: bool, standing_in: bool) -> Iterator[None]:
    before = [(setting, setting[1]()) for setting in _SETTINGS]
    path, environment = list(sys.path), dict(os.environ)
    said: list[str] = []
    try:
        clean = _stdout_to_stderr() if keep_stdout_clean else nullcontext()
        with kept_random(), warnings.catch_warnings(), clean, stand_ins() if standing_in else nullcontext():
            warnings.simplefilter("ignore")  # the model is built and run at sizes that its author never meant
            yield
    finally:
        for (label, get, put), value in before:
            said += _put_back(label, get, put, value)
        sys.path[:] = path
        changed = [k for k in {**os.environ, **environment} if os.environ.get(k) != environment.get(k)]
        if changed:
            os.environ.clear()
            os.environ.update(environment)
        names = ", ".join(sorted(k for k in changed if not k.startswith("TORCHINDUCTOR_")))  # torch sets these itself
        if names:
            said.append(f"the environment was changed ({names}) {_BY_THE_MODEL}")
        if notes is not None:
            notes += said


_BY_THE_MODEL = "by the model's code; put back after the analysis"
_NOT_PUT_BACK = "by the model's code; it cannot be put back"


def _put_back(label: str, get: Callable[[], Any], put: Callable[[Any], None], value: Any) -> list[str]:
    now = get()
    if now == value:
        return []
    try:
        put(value)
    except Exception:  # a folder that is gone; whatever it is, the other settings are put back
        return [f"{label} was changed to {now} {_NOT_PUT_BACK}"]
    return [f"{label} was changed to {now} {_BY_THE_MODEL}"]


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Python's stdout and the process's file descriptor 1."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError):  # no such descriptor here
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
