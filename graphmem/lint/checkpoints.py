"""Checkpoints of a traced model: what they hold, and the model traced without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch.utils.checkpoint

from graphmem.errors import GraphmemError
from graphmem.lint.context import Context
from graphmem.load import isolated
from graphmem.saved import ALIVE, sort_storages
from graphmem.trace.frames import user_frames
from graphmem.trace.record import Place, Trace


def held_by_checkpoints(context: Context) -> Iterator[tuple[int, Place]]:
    """(storage, line) of everything that a checkpoint holds as an input; the line is the innermost of the user's that
    called torch.utils.checkpoint."""
    for storage in context.trace.storages:
        for keep in storage.keeps:
            if keep.checkpoint is not None:
                yield storage.index, keep.checkpoint


def without_checkpoints(context: Context, line: Place) -> Trace | None:
    """The model at the traced point, with the checkpoints of one line switched off; None where that cannot run."""
    tracer = replace(context.findings.make_graph.tracer, _made={})  # type: ignore[attr-defined]
    try:
        with isolated(), _switched_off(line):
            return tracer(dict(context.trace.point))  # type: ignore[no-any-return]
    except GraphmemError:
        return None


def alive(trace: Trace) -> int:
    """Bytes that forward leaves behind."""
    return sum(kept.nbytes for kept in sort_storages(trace) if kept.table in ALIVE)


@contextmanager
def _switched_off(line: Place) -> Iterator[None]:
    """torch.utils.checkpoint calls its function and does nothing else, where `line` calls it."""
    module = torch.utils.checkpoint
    generator, function = module._checkpoint_without_reentrant_generator, module.CheckpointFunction

    def made(*args: Any, **kwargs: Any) -> Iterator[None]:
        if next(iter(user_frames()[0]), Place("", 0, "")) == line:
            return (None for _ in range(1))
        again: Iterator[None] = generator(*args, **kwargs)
        return again

    class Called:
        @staticmethod
        def apply(run: Any, preserve: Any, *args: Any) -> Any:
            if next(iter(user_frames()[0]), Place("", 0, "")) == line:
                return run(*args)
            return function.apply(run, preserve, *args)

    module._checkpoint_without_reentrant_generator = made
    module.CheckpointFunction = Called  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        module._checkpoint_without_reentrant_generator = generator
        module.CheckpointFunction = function  # type: ignore[misc]
