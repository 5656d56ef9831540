"""Checkpoints of a traced model: what they hold, and the model traced without them, or with one around every layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import sympy
from torch import nn
from torch.utils.checkpoint import checkpoint

from graphmem._torch import CHECKPOINT_FUNCTION, CHECKPOINT_GENERATOR
from graphmem.accounts.saved import ALIVE, sort_storages
from graphmem.analysis.analysis import Analysis
from graphmem.analysis.tracer import Tracer
from graphmem.errors import GraphmemError
from graphmem.linter.context import Context
from graphmem.linter.remeasure import saved_in
from graphmem.memo import Memo
from graphmem.patches import patched
from graphmem.points import Point
from graphmem.record import Place, Trace
from graphmem.symbolic.derive import derive
from graphmem.symbolic.problem import Problem
from graphmem.trace.frames import NOWHERE, Frames
from graphmem.usercode.isolate import isolated
from graphmem.usercode.layers import outermost


def held_by_checkpoints(context: Context) -> Iterator[tuple[int, Place]]:
    """(storage, line) of everything that a checkpoint holds as an input; the line is the innermost of the user's that
    called torch.utils.checkpoint."""
    for storage in context.trace.storages:
        for keep in storage.keeps:
            if keep.checkpoint is not None:
                yield storage.index, keep.checkpoint


def without_checkpoints(context: Context, line: Place) -> Trace | None:
    """The model at the traced point, with the checkpoints of one line switched off; None where that cannot run."""
    try:
        with isolated(), _switched_off(line):
            return _again(context.analysis)(dict(context.trace.point))
    except GraphmemError:  # without its checkpoint a model may not run; then it cannot be compared
        return None


def with_checkpoints(analysis: Analysis) -> sympy.Expr | None:
    """What is saved with a checkpoint around every layer; None if the model does not run so, or nothing is proved."""
    derived, lists = analysis.derived, outermost(sorted(analysis.derived.trace.containers))
    known = Memo[Trace]()

    def tracer(point: Point) -> Trace:
        return known.at(point, lambda: _checkpointed(_again(analysis), lists, point))

    problem = Problem(tracer=tracer, account=derived.account, working=derived.base, model_symbols=derived.model_symbols)
    try:
        with isolated():
            changed = derive(problem, derived.periods)
    except GraphmemError:  # a layer may not run in a checkpoint; then there is nothing to promise
        return None
    return None if changed is None else saved_in(changed)


def _again(analysis: Analysis) -> Tracer:
    """A tracer that does not know yet how the model ran before it was changed."""
    return analysis.tracer.of(analysis.tracer.subject)


def _checkpointed(tracer: Tracer, lists: Sequence[str], point: Point) -> Trace:
    """The trace with every layer's forward in a checkpoint; what `build` returns may be the user's own module."""
    changed: list[tuple[nn.Module, dict[str, Any]]] = []

    def build(at: dict[str, int]) -> nn.Module:
        module = tracer.subject.build(at)
        layers = (layer for path in lists for layer in module.get_submodule(path).children())
        for layer in dict.fromkeys(layers):  # one that is in two lists gets one checkpoint
            changed.append((layer, dict(vars(layer))))
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        return module

    try:
        return tracer.of(replace(tracer.subject, build=build))(point)
    finally:
        for layer, before in changed:
            vars(layer).pop("forward", None)
            vars(layer).update({"forward": before["forward"]} if "forward" in before else {})


def alive(trace: Trace) -> int:
    """Bytes that forward leaves behind."""
    return sum(kept.nbytes for kept in sort_storages(trace) if kept.table in ALIVE)


@contextmanager
def _switched_off(line: Place) -> Iterator[None]:
    """torch.utils.checkpoint calls its function and does nothing else, where `line` calls it in this thread."""
    frames, generator, function = Frames(), getattr(*CHECKPOINT_GENERATOR), getattr(*CHECKPOINT_FUNCTION)
    apply = function.apply

    def made(*args: Any, **kwargs: Any) -> Iterator[None]:
        if (frames.innermost() or NOWHERE) == line:
            return (None for _ in range(1))
        again: Iterator[None] = generator(*args, **kwargs)
        return again

    def applied(run: Any, preserve: Any, *args: Any) -> Any:
        if (frames.innermost() or NOWHERE) == line:
            return run(*args)
        return apply(run, preserve, *args)

    with patched(*CHECKPOINT_GENERATOR, made), patched(function, "apply", applied):
        yield
