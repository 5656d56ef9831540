"""Every setting of the process that a factory changes is as before."""

from __future__ import annotations

import builtins
import gc
import locale
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import graphmem
from support.slow import first_of

matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
hooks = nn.modules.module


def _set(owner: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


# label -> (what a factory does, what it should not have changed)
CHANGES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "anomaly mode": (lambda: torch.autograd.set_detect_anomaly(True, False), torch.is_anomaly_enabled),
    "anomaly's check": (lambda: torch.autograd.set_detect_anomaly(False, False), torch.is_anomaly_check_nan_enabled),
    "autocast dtype": (
        lambda: torch.set_autocast_dtype("cpu", torch.float16), lambda: torch.get_autocast_dtype("cpu"),
    ),
    "autocast dtype of cuda": (
        lambda: torch.set_autocast_dtype("cuda", torch.bfloat16), lambda: torch.get_autocast_dtype("cuda"),
    ),
    "autocast cache": (lambda: torch.set_autocast_cache_enabled(False), torch.is_autocast_cache_enabled),
    "tf32": (_set(matmul, "allow_tf32", True), lambda: matmul.allow_tf32),
    "tf32 of cuDNN": (_set(cudnn, "allow_tf32", False), lambda: cudnn.allow_tf32),
    "cuDNN": (_set(cudnn, "enabled", False), lambda: cudnn.enabled),
    "fp16 reductions": (
        _set(matmul, "allow_fp16_reduced_precision_reduction", False),
        lambda: matmul.allow_fp16_reduced_precision_reduction,
    ),
    "bf16 reductions": (
        _set(matmul, "allow_bf16_reduced_precision_reduction", False),
        lambda: matmul.allow_bf16_reduced_precision_reduction,
    ),
    "denormals": (lambda: torch.set_flush_denormal(True), lambda: sys.float_info.min / 2),
    "warn always": (lambda: torch.set_warn_always(True), torch.is_warn_always_enabled),
    "print options": (lambda: torch.set_printoptions(precision=2), lambda: str(torch.tensor([1 / 3]))),
    "gc thresholds": (lambda: gc.set_threshold(5), gc.get_threshold),
    "gc": (gc.disable, gc.isenabled),
    "recursion limit": (lambda: sys.setrecursionlimit(3000), sys.getrecursionlimit),
    "switch interval": (lambda: sys.setswitchinterval(0.1), sys.getswitchinterval),
    "a logger's level": (
        lambda: logging.getLogger("graphmem_test").setLevel(5), lambda: logging.getLogger("graphmem_test").level,
    ),
    "the root logger": (lambda: logging.basicConfig(level=5, force=True), lambda: logging.root.handlers[:]),
    "logging": (lambda: logging.disable(50), lambda: logging.root.manager.disable),
    "a signal": (
        lambda: signal.signal(signal.SIGALRM, lambda *_: None), lambda: signal.getsignal(signal.SIGALRM),
    ),
    "excepthook": (_set(sys, "excepthook", print), lambda: sys.excepthook),
    "stderr": (_set(sys, "stderr", sys.__stdout__), lambda: sys.stderr),
    "forward hooks": (
        lambda: hooks.register_module_forward_hook(lambda *_: None), lambda: dict(hooks._global_forward_hooks),
    ),
    "backward hooks": (
        lambda: hooks.register_module_full_backward_hook(lambda *_: None), lambda: dict(hooks._global_backward_hooks),
    ),
    "a stub of torch.cuda": (_set(torch.cuda, "is_available", lambda: True), lambda: torch.cuda.is_available),
    "a function": (_set(nn.functional, "relu", lambda x: x), lambda: nn.functional.relu),
    "a method": (_set(nn.Module, "train", lambda self, mode=True: self), lambda: nn.Module.train),
    "a builtin": (_set(builtins, "print", lambda *_: None), lambda: builtins.print),
    "locale": (lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"), lambda: locale.setlocale(locale.LC_ALL)),
}  # fmt: skip


@pytest.fixture
def put_back() -> Iterator[None]:
    """What this test process has, whatever graphmem does."""
    logging.getLogger("graphmem_test")
    kept = (
        torch.backends.cuda.matmul.allow_tf32,
        builtins.print,
        nn.Module.train,
        nn.functional.relu,
        logging.root.handlers[:],
    )
    yield
    matmul.allow_tf32, builtins.print, nn.Module.train, nn.functional.relu = kept[:4]  # type: ignore[method-assign]
    logging.root.handlers[:] = kept[4]


@pytest.mark.parametrize("beside", first_of([False, True]))
@pytest.mark.parametrize("what", first_of(CHANGES, 2))
def test_it_is_as_before(put_back: None, what: str, beside: bool) -> None:
    change, read = CHANGES[what]
    before = read()

    def model(h: int = 16) -> nn.Module:
        change()
        return nn.Linear(h, h)

    done = threading.Event()
    other = threading.Thread(target=done.wait, args=(30,))
    if beside:
        other.start()
    try:
        graphmem.analyze(model, lambda b=2, s=8, h=16: (torch.randn(b, s, h),), device="cpu")
        assert read() == before
        with pytest.raises(graphmem.GraphmemError):
            graphmem.analyze(model, lambda b=2: (torch.randn(b, 3),), device="cpu")
        assert read() == before
    finally:
        done.set()


def test_a_library_that_is_imported_keeps_its_loggers_and_what_it_replaces() -> None:
    def model(h: int = 16) -> nn.Module:
        logging.getLogger("graphmem_test_library").setLevel(5)
        return nn.Linear(h, h)

    graphmem.analyze(model, lambda b=2, h=16: (torch.randn(b, h),))
    assert logging.getLogger("graphmem_test_library").level == 5
