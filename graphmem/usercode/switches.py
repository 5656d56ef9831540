"""Which settings of the process there are, how to read one, and how to put it back."""

from __future__ import annotations

import builtins
import gc
import locale
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import torch

from graphmem._torch import PRINT_OPTIONS, default_device, global_module_hooks, set_global_module_hooks
from graphmem.usercode.paths import is_users

Setting = tuple[str, Callable[[], Any], Callable[[Any], object]]


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


def _set_anomaly(on: bool, check_nan: bool) -> None:
    torch.autograd.set_detect_anomaly(on, check_nan)


def _autocast_depth() -> int:
    """In how many autocast blocks the thread is: behind the last one, autocast forgets the weights that it has cast."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _set_autocast_depth(depth: int) -> None:
    while _autocast_depth() > depth:
        torch.autocast_decrement_nesting()


def _set_arguments(state: tuple[list[str], list[str]]) -> None:
    sys.argv, content = state
    sys.argv[:] = content


def _flushes_denormals() -> bool:
    """torch has no function that says so; but it is a switch of the processor, which Python's numbers obey too."""
    return sys.float_info.min / 2 == 0.0


class _Loggers(dict[str, tuple[Any, ...]]):
    """State by name. One that was made meanwhile is no change: a library that was imported may keep it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and all(self[name] == other[name] for name in self.keys() & other.keys())

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


def _loggers() -> _Loggers:
    """Levels and switches of the loggers that there are, but torch's, and the root's handlers."""
    manager = logging.root.manager
    named = {n: one for n, one in list(manager.loggerDict.items()) if isinstance(one, logging.Logger)}
    found = {n: (o.level, o.disabled, o.propagate) for n, o in named.items() if n.partition(".")[0] != "torch"}
    return _Loggers({**found, "": (logging.root.level, tuple(logging.root.handlers), manager.disable)})


def _set_loggers(state: _Loggers) -> None:
    level, handlers, disabled = state[""]
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers
    logging.disable(disabled)
    for name, (level, off, propagate) in state.items():
        if name:
            logger = logging.getLogger(name)
            logger.setLevel(level)
            logger.disabled, logger.propagate = off, propagate


def _signal_handlers() -> dict[int, Any]:
    """Only the main thread may set them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in sorted(signal.valid_signals())}


def _set_signal_handlers(state: dict[int, Any]) -> None:
    for number, handler in state.items():
        if handler is not None and signal.getsignal(number) is not handler:  # None: not Python's
            signal.signal(number, handler)


# Where people put functions of their own in place of torch's and Python's.
_PATCHED: tuple[tuple[Any, str], ...] = (
    (torch, "torch"),
    (torch.cuda, "torch.cuda"),
    (torch.nn.functional, "torch.nn.functional"),
    (torch.nn.init, "torch.nn.init"),
    (torch.Tensor, "torch.Tensor"),
    (torch.nn.Module, "torch.nn.Module"),
    (torch.nn.Linear, "torch.nn.Linear"),
    (builtins, "Python's builtins"),
)


def _patched_names(owner: Any, label: str) -> Setting:
    """Functions in `owner` that the user's own code has replaced; what a library puts there when it is imported stays,
    since the library does."""

    def now() -> dict[str, Any]:
        return {name: value for name, value in vars(owner).items() if _is_theirs(value)}

    def put(before: dict[str, Any]) -> None:
        for name, value in now().items():
            if before.get(name) is not value:
                setattr(owner, name, before.get(name, original[name])) if name in original else delattr(owner, name)

    original = dict(vars(owner))
    return f"a function of {label}", now, put


def _is_theirs(value: Any) -> bool:
    if not isinstance(value, FunctionType) or hasattr(value, "graphmem_patch"):
        return False
    return is_users(value.__code__.co_filename)


SETTINGS: tuple[Setting, ...] = (
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
    ("autocast's dtype for cuda", lambda: torch.get_autocast_dtype("cuda"), partial(torch.set_autocast_dtype, "cuda")),
    ("autocast's dtype for cpu", lambda: torch.get_autocast_dtype("cpu"), partial(torch.set_autocast_dtype, "cpu")),
    ("autocast's depth", _autocast_depth, _set_autocast_depth),
    ("autocast's cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    (
        "autograd's anomaly mode",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda state: _set_anomaly(*state),
    ),
    ("torch's warnings", torch.is_warn_always_enabled, torch.set_warn_always),
    ("torch's denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    ("torch's print options", lambda: vars(PRINT_OPTIONS).copy(), lambda options: vars(PRINT_OPTIONS).update(options)),
    _attribute(torch.backends.cuda.matmul, "allow_tf32", "TF32 in matrix products"),
    _attribute(torch.backends.cudnn, "allow_tf32", "TF32 in cuDNN"),
    _attribute(torch.backends.cudnn, "enabled", "cuDNN's switch"),
    _attribute(
        torch.backends.cuda.matmul, "allow_fp16_reduced_precision_reduction", "reduced precision in products of fp16"
    ),
    _attribute(
        torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", "reduced precision in products of bf16"
    ),
    _attribute(torch.backends.cudnn, "benchmark", "cuDNN's benchmark mode"),
    _attribute(torch.backends.cudnn, "deterministic", "cuDNN's deterministic mode"),
    ("hooks of all modules", global_module_hooks, set_global_module_hooks),
    *(_patched_names(owner, label) for owner, label in _PATCHED),
    ("sys.argv", lambda: (sys.argv, list(sys.argv)), _set_arguments),
    _attribute(sys, "stdout", "sys.stdout"),
    _attribute(sys, "stderr", "sys.stderr"),
    _attribute(sys, "stdin", "sys.stdin"),
    _attribute(sys, "dont_write_bytecode", "sys.dont_write_bytecode"),
    _attribute(sys, "excepthook", "sys.excepthook"),
    _attribute(threading, "excepthook", "threading.excepthook"),
    _attribute(sys, "displayhook", "sys.displayhook"),
    _attribute(sys, "unraisablehook", "sys.unraisablehook"),
    ("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("the switch interval of threads", sys.getswitchinterval, sys.setswitchinterval),
    ("the garbage collector's thresholds", gc.get_threshold, lambda values: gc.set_threshold(*values)),
    ("the garbage collector's switch", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    ("the loggers", _loggers, _set_loggers),
    ("the signal handlers", _signal_handlers, _set_signal_handlers),
    ("the locale", lambda: locale.setlocale(locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
)
