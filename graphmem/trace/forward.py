"""`trace`: one forward of a subject at one point, on fake tensors that pretend to be on the machine."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from graphmem._torch import FAKE_TENSOR_LOGGER, FakeTensorMode
from graphmem.errors import ModelError
from graphmem.how import How
from graphmem.kernels.flex import again_with_flex_attention, flex_attention_as_kernel
from graphmem.kernels.run_as_on import RunAsOn
from graphmem.machine import Machine
from graphmem.machine.guard import ensure_cuda_guard
from graphmem.machine.pretend import answering_as
from graphmem.patches import patched
from graphmem.record import Left, Trace
from graphmem.stand_ins import StandIns, stand_ins
from graphmem.stand_ins.imports import NAMES
from graphmem.trace.answers import Answers
from graphmem.trace.beside import Beside
from graphmem.trace.calls import Calls
from graphmem.trace.compile_apart import compile_apart
from graphmem.trace.failures import explained, signature
from graphmem.trace.fakes import Faker, faked, left_on_cpu
from graphmem.trace.frames import outermost
from graphmem.trace.inputs import named_tensors
from graphmem.trace.left import left_behind, note_of, sizes
from graphmem.trace.nodes import free_in_order, frees_in_order
from graphmem.trace.recorder import Recorder
from graphmem.trace.starts import Starts, starts_of
from graphmem.trace.values import Values
from graphmem.usercode.callables import defined_at
from graphmem.usercode.garbage import put_off
from graphmem.usercode.interrupts import may_come
from graphmem.usercode.turn import users_turn

Loss = Callable[[Any], torch.Tensor]
# (module, args, kwargs, calls) -> output. Through `calls` it can say itself which module is running.
Drive = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Calls], Any]


@again_with_flex_attention
@compile_apart()
@frees_in_order()
def trace(
    module: nn.Module,
    inputs: Any,
    how: How,
    *,
    point: dict[str, int] | None = None,
    loss: Loss | None = None,
    reload: Callable[[], Any] | None = None,
    most_operators: int | None = None,
    answers: Answers | None = None,
    drive: Drive | None = None,
) -> Trace:
    """Run forward (and loss) once and write down what happened.

    The record holds no tensor. `Trace.value` works out what a small one held, and keeps alive only what is small.

    Args:
        module: on any device; its parameters, buffers and attributes are as before when this returns or raises.
        inputs: a tensor, a tuple (positional) or a dict (keywords) of tensors and plain values.
        how: the machine that it pretends to run on, and the options; `full_depth` is the caller's.
        point: the values of the symbols, kept in the trace.
        loss: makes of forward's output what backward starts from; default: the output's `loss`, a loss that the model
            keeps in an attribute, or else the output.
        reload: makes the inputs again as real tensors, for models that ask for their values; called only for those.
        most_operators: give up where there are more.
        answers: what fake mode answered in other traces.
        drive: how forward is run; default: the module is called.

    Raises:
        ModelError: forward raised, for whatever reason that graphmem has no name for.
        DataDependentError, MissingKernelError: forward cannot run on tensors without values.
        TooLongError: there are more than `most_operators`.
    """
    _refuse_scripted(module)
    machine = how.machine
    if machine.device == "cuda":
        ensure_cuda_guard()
    record = Trace(point=dict(point or {}), device=machine.device)
    values = Values(record, (lambda: named_tensors(reload())) if reload else None, how.assumptions)
    record.value = values.value
    mode = _fake_mode(machine)
    recorder = Recorder(record, module, values, partial((answers or Answers()).ask, mode), most_operators)
    fake, register = Faker(mode, machine.device, how.dtype), recorder.tape.placeholder
    with _undisturbed() as standing, faked(module, fake, register):
        given = call_arguments(fake.tree(inputs, register, ""))
        starts, before = Starts([]), sizes(module)
        with _as_in_training(how, mode), recorder.watching(), RunAsOn(machine, record), _autocast(how):
            starts = _run(module, given, loss, recorder.calls, drive)
        gc.collect(0)
        beside = Beside.of(recorder.tape, starts) if starts.beside else None
        starts = starts._replace(beside={})
        if beside is not None:
            gc.collect(0)
        recorder.finish(starts.tensors, list(module.buffers()))
        free_in_order(starts.tensors, len(record.ops))
        if beside is not None:
            beside.note(record)
        for place, tensor, grows in left_behind(module, before, starts.kept_in):
            if (storage := recorder.tape.known(tensor)) is not None:
                record.left.append(Left(place.module, place.name, storage.index, grows))
        record.notes += [*_assumed(record, standing), *_where_from(starts), *note_of(record.left, record.containers)]
    return record


def _refuse_scripted(module: nn.Module) -> None:
    scripted = next((name for name, m in module.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise ModelError(
            f"module {scripted or '(the model)'} is TorchScript, whose parameters cannot be exchanged for fake ones",
            hint="use the eager module: leave out torch.jit.script and torch.jit.load",
        )


def _fake_mode(machine: Machine) -> FakeTensorMode:
    # allow_non_fake_inputs: constants that a model keeps in a global or makes with torch.tensor are turned into fakes.
    # Without a fake kernel an operator would be run for real on zeros, on a GPU that may not be there.
    mode = FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=machine.device == "cpu")
    mode.cache_enabled = False  # `Answers` does that, and cheaper
    return mode


@contextmanager
def _as_in_training(how: How, mode: FakeTensorMode) -> Iterator[None]:
    """Where forward runs: on fake tensors, and as far as it can tell on the machine."""
    with (
        users_turn(fake=True),  # outside of the modes: what it compares is not a part of forward
        torch.enable_grad(),
        answering_as(how.machine),
        _unnoticed(),
        flex_attention_as_kernel(),
        mode,
    ):
        yield


def _autocast(how: How) -> AbstractContextManager[object]:
    return torch.autocast(how.machine.device, how.autocast) if how.autocast else nullcontext()


def _run(
    module: nn.Module,
    given: tuple[tuple[Any, ...], dict[str, Any]],
    loss: Loss | None,
    calls: Calls,
    drive: Drive | None,
) -> Starts:
    driven = partial(drive, module, *given, calls) if drive else None
    return run_forward(module, *given, loss, lambda: calls.path, driven)


@contextmanager
def _undisturbed() -> Iterator[StandIns]:
    with torch.inference_mode(False), put_off(), _quiet_logger(), stand_ins() as standing:
        yield standing


def _assumed(record: Trace, standing: StandIns) -> list[str]:
    """What was taken for granted about the environment in which the model will train."""
    notes = []
    missing = sorted({name.partition(".")[0] for name in standing.used} & set(NAMES))
    if missing:
        notes.append(f"not installed here, and analysed as if it were: {', '.join(missing)}")
    for name in dict.fromkeys(standing.refused):
        notes.append(
            f"the model went on without {name}, which graphmem's stand-in lacks; with it, it may run otherwise"
        )
    if record.compiled:
        notes.append("what torch.compile compiled was traced as it is written; compiled, it may keep less")
    return notes


def _where_from(starts: Starts) -> list[str]:
    kept_in = " and ".join(starts.kept_in)
    return [f"backward starts from {kept_in}, which forward keeps in the model and does not return"] if kept_in else []


@outermost
def run_forward(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    loss: Loss | None,
    place: Callable[[], str],
    driven: Callable[[], Any] | None = None,
) -> Starts:
    """Forward and loss; where backward starts, which is what the caller still holds afterwards.

    Args:
        place: the path of the module under way, for an error. driven: runs forward in place of a call of `module`.
    """
    fitting = f"inputs must fit {signature(module)}"
    with explained("forward", place, fitting, lambda: left_on_cpu(module)), may_come(forward=True):
        output = driven() if driven is not None else module(*args, **kwargs)
    if loss is not None:
        with explained("loss()", place, "loss(output) gets what forward returned"), may_come(forward=True):
            value = loss(output)
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                f"loss() returned {type(value).__name__}, not a tensor",
                where=defined_at(loss),
                hint="return the tensor that backward starts from: return output.float().mean()",
            )
        return Starts([value])
    with explained("what forward returned", place, "forward returns tensors, or what holds them"):
        return starts_of(module, output)


def call_arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs as forward takes them: a tuple by position, a dict by name."""
    if isinstance(inputs, dict):
        return (), inputs
    return (tuple(inputs), {}) if isinstance(inputs, (tuple, list)) else ((inputs,), {})


@contextmanager
def _quiet_logger() -> Iterator[None]:
    """Fake mode logs a traceback for every operator that refuses its arguments; the error that follows says it all."""
    logger = logging.getLogger(FAKE_TENSOR_LOGGER)
    disabled, logger.disabled = logger.disabled, True  # another level would clear the caches of all loggers
    try:
        yield
    finally:
        logger.disabled = disabled


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Keep libraries that look for fake tensors from finding them: they would run something else than in training.

    transformers builds a full attention mask, 2bs² bytes a layer, where it sees a fake tensor
    (transformers/utils/import_utils.py, is_tracing).
    """
    imports = sys.modules.get("transformers.utils.import_utils")
    if not hasattr(imports, "is_fake_tensor"):
        yield
        return
    with patched(imports, "is_fake_tensor", lambda _tensor: False):
        yield
