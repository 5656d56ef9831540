"""What `torch.cuda` has beside tensors: streams, events, marks for a profiler. In a trace nothing runs or waits.

A build of torch for the CPU alone refuses all of these, and a model that uses them in forward is right all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


class Idle:
    """A stream or an event on which nothing happens."""

    cuda_stream = cuda_event = 0

    def query(self) -> bool:
        """All that was put on it is done."""
        return True

    def elapsed_time(self, _end: object) -> float:
        """Milliseconds; more than none, since people divide by them."""
        return 1.0

    def record_event(self, event: object = None) -> object:
        """The event, or a new one."""
        return Idle() if event is None else event

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return _nothing

    def __enter__(self) -> Idle:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def _nothing(*_args: object, **_kwargs: object) -> None:
    pass


def _idle(*_args: object, **_kwargs: object) -> Idle:
    return Idle()


def _in_no_stream(*_args: object, **_kwargs: object) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def idle_functions(memory: int) -> list[tuple[Any, str, Callable[..., Any]]]:
    """(owner, name, what it is while a trace speaks for a GPU with so many bytes)."""
    import torch
    from torch.cuda import nvtx

    marks = ("range_push", "range_pop", "range_start", "range_end", "mark")
    return [
        *((nvtx, name, lambda *_args, **_kwargs: 0) for name in marks),
        # A call of the class gives what __new__ gives.
        (torch.cuda.Stream, "__new__", _idle),
        (torch.cuda.Event, "__new__", _idle),
        (torch.cuda, "current_stream", _idle),
        (torch.cuda, "default_stream", _idle),
        (torch.cuda, "stream", _in_no_stream),
        (torch.cuda.device, "__enter__", _nothing),
        (torch.cuda.device, "__exit__", _nothing),
        (torch.Tensor, "record_stream", _nothing),
        (torch.cuda, "set_device", _nothing),
        (torch.cuda, "reset_peak_memory_stats", _nothing),
        (torch.cuda, "mem_get_info", lambda device=None: (memory, memory)),
    ]
