"""What a process has that an analysis might change, read without graphmem's help."""

from __future__ import annotations

import builtins
import gc
import hashlib
import locale
import logging
import os
import random
import signal
import sys
import sysconfig
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy
import torch
from torch.nn.modules import module as modules

_PATHS = sysconfig.get_paths()
_INSTALLED = (_PATHS["purelib"], _PATHS["stdlib"], str(Path(__file__).parents[2]))
_PATCHED = (
    *(torch, torch.cuda, torch.backends.cuda, torch.nn.functional, torch.nn.init),
    *(torch.Tensor, torch.nn.Module, torch.nn.Linear, builtins, warnings, random, os),
)


def _digest(*values: Any) -> str:
    return hashlib.sha1(repr(values).encode()).hexdigest()


def _functions(owner: Any) -> dict[str, Any]:
    """Those of users each for itself: a library may replace a function when it is imported for the first time."""
    functions = {name: value for name, value in vars(owner).items() if isinstance(value, FunctionType)}
    return {n: "installed" if f.__code__.co_filename.startswith(_INSTALLED) else id(f) for n, f in functions.items()}


def _users_modules() -> set[str]:
    """Those whose file is not installed: a library may be imported for the first time, and stays."""

    def is_users(name: str, one: Any) -> bool:
        names = vars(one) if isinstance(one, ModuleType) else {}
        file = names.get("__file__")
        if isinstance(file, str):
            return not file.startswith(_INSTALLED)
        return names.get("__spec__") is None and name.partition(".")[0] not in {
            "torch",
            "transformers",
            *sys.stdlib_module_names,
        }

    return {name for name, one in list(sys.modules.items()) if is_users(name, one)}


def _loggers() -> dict[str, Any]:
    named = {n: one for n, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {n: (one.level, one.disabled, one.propagate, list(one.handlers)) for n, one in named.items()}


def _hooks() -> list[list[int]]:
    """torch's hooks of all modules."""
    tables = [vars(modules)[name] for name in sorted(vars(modules)) if name.startswith("_global_")]
    return [sorted(table) for table in tables if isinstance(table, dict)]


def _modes() -> tuple[int, int]:
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()


def _random() -> str:
    numpys = [str(part) for part in numpy.random.get_state()]
    return _digest(torch.get_rng_state().tolist(), random.getstate(), numpys)


def _all_functions() -> dict[str, Any]:
    return {f"{owner.__name__}.{name}": one for owner in _PATCHED for name, one in _functions(owner).items()}


def _autocast() -> list[Any]:
    torch.autocast_increment_nesting()
    on = [(torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in ("cpu", "cuda")]
    return [*on, torch.autocast_decrement_nesting()]


def _tf32() -> tuple[Any, ...]:
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return cuda.allow_tf32, cudnn.allow_tf32, torch.get_float32_matmul_precision()


def _deterministic() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    return torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic


def _python_hooks() -> list[int]:
    hooks = (
        sys.excepthook,
        sys.displayhook,
        sys.unraisablehook,
        threading.excepthook,
        sys.gettrace(),
        sys.getprofile(),
    )
    return [id(one) for one in hooks]


def _streams() -> list[int]:
    return [id(one) for one in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)]


STATE: dict[str, Callable[[], Any]] = {
    "modules of users": _users_modules,
    "sys.path": lambda: list(sys.path),
    "sys.argv": lambda: list(sys.argv),
    "finders": lambda: [id(one) for one in sys.meta_path],
    "path hooks": lambda: [id(one) for one in sys.path_hooks],
    "working directory": os.getcwd,
    "environment": lambda: dict(os.environ),
    "signal handlers": lambda: {n: signal.getsignal(n) for n in signal.valid_signals()},
    "timer": lambda: signal.getitimer(signal.ITIMER_REAL),
    "root logger": lambda: (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
    "warnings": lambda: (list(warnings.filters), id(warnings.showwarning)),
    "default dtype": torch.get_default_dtype,
    "default device": torch.get_default_device,
    "gradients": lambda: (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    "anomaly mode": lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
    "autocast": _autocast,
    "TF32": _tf32,
    "attention": lambda: (
        *(torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()),
        *(torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.cudnn_sdp_enabled()),
    ),
    "deterministic": _deterministic,
    "threads of torch": torch.get_num_threads,
    "print options": lambda: repr(torch.tensor([1.23456789, 2e9])),
    "denormal numbers": lambda: torch.tensor([1e-310], dtype=torch.float64).mul(1).tolist(),
    "random numbers": _random,
    "hooks of modules": _hooks,
    "modes": _modes,
    "saved tensors hooks": lambda: torch._C._autograd._top_saved_tensors_default_hooks(True),
    "functions": _all_functions,
    "garbage collector": lambda: (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), len(gc.callbacks)),
    "recursion limit": sys.getrecursionlimit,
    "switch interval": sys.getswitchinterval,
    "threads": threading.active_count,
    "hooks of sys": _python_hooks,
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "streams": _streams,
    "open files": lambda: len(os.listdir("/proc/self/fd")),
    "bytecode": lambda: sys.dont_write_bytecode,
}


def snapshot() -> dict[str, Any]:
    """Every state by name, as it is now."""
    return {**{name: get() for name, get in STATE.items()}, "loggers": _loggers()}


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A sentence for each state that is another now. Loggers and functions that a library has made meanwhile stay."""
    now = dict(after)
    for name in ("loggers", "functions"):
        now[name] = {key: state for key, state in after[name].items() if key in before[name]}
    return [f"{name}: {_shown(before[name], now[name])}" for name in before if before[name] != now[name]]


def _shown(before: Any, after: Any) -> str:
    if isinstance(before, dict):
        keys = [k for k in {**before, **after} if before.get(k) != after.get(k)][:3]
        return "; ".join(f"{k!r} {before.get(k)!r} -> {after.get(k)!r}" for k in keys)[:300]
    if isinstance(before, set):
        return f"+{sorted(after - before)[:5]} -{sorted(before - after)[:5]}"
    return f"{before!r} -> {after!r}"[:300]
