"""`validate`: predict all points, refuse what cannot fit, run each, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack, cast

import torch

from graphmem.analysis.tracer import Tracer
from graphmem.errors import MachineError, UsageError, did_you_mean
from graphmem.how import Options, RunOptions, read_how
from graphmem.load import Loss, Model, Subject, subject_of, wishes_of
from graphmem.usercode.isolate import isolated
from graphmem.validation.compare import compare
from graphmem.validation.needs import out_of_memory, refuse_what_cannot_fit
from graphmem.validation.predict import Prediction, predict
from graphmem.validation.result import PointResult, Validation
from graphmem.validation.step import RanOutError, Settings, clean_up, frozen, measure
from graphmem.validation.sweep import Sweep, points_of
from graphmem.validation.watch import Existing


def validate(
    model: Model,
    inputs: Any = None,
    *,
    sweep: Sweep | None = None,
    steps: int = 2,
    force: bool = False,
    symbols: Mapping[str, object] | None = None,
    loss: Loss | None = None,
    config: str | None = None,
    input: Mapping[str, str] | None = None,
    task: str | None = None,
    trust_remote_code: bool = False,
    **options: Unpack[RunOptions],
) -> Validation:
    """Run forward, loss and backward for real and compare what autograd keeps with the prediction.

    Args:
        model, inputs: as for `graphmem.analyze`, with values (a module is copied).
        sweep: values of symbols, {"s": [512, 1024], "b": [1, 4]}: every combination is run.
        steps: training steps for each point; all but the last warm up.
        force: run even if the prediction says it will not fit.
        symbols, loss, config, input, task, trust_remote_code: as for `graphmem.analyze`.
        options: device ("cuda", the default, is the GPU of this process, or "cpu"), dtype, autocast, assume: see
            `graphmem.how.RunOptions`. The machine is the one that runs, so there are no options for another.

    Raises:
        GraphmemError: see `graphmem.errors`. A point that runs out of memory does not raise: see its `failed`.
    """
    _check_options(options)
    wishes = wishes_of(symbols, config, input, task, trust_remote_code)
    settings = Settings(how=read_how(cast(Options, options)), steps=steps)
    with isolated(standing_in=False):
        return validate_subject(lambda: subject_of(model, inputs, loss, wishes), settings, sweep or {}, force=force)


def validate_subject(load: Callable[[], Subject], settings: Settings, sweep: Sweep, *, force: bool) -> Validation:
    """`validate` for whatever `load` gives; the caller isolates it, without stand-ins."""
    _check(settings)
    how = settings.how
    # Loaded first without stand-ins: a real run needs real packages, and says at once where one is missing.
    subject = load()
    points = points_of(sweep, subject.symbols)
    with isolated():
        again = load()
        # A tracer of its own for each point: a trace is large, and a prediction is not.
        predictions = [predict(Tracer(again, how), point) for point in points]
    if not force:
        refuse_what_cannot_fit(predictions, how.machine.device)
    with frozen() as existing:
        results = tuple(_result(subject, prediction, settings, existing) for prediction in predictions)
    return Validation(
        name=subject.name,
        machine=how.machine.describe(),
        device=how.machine.device,
        settings=how.settings,
        steps=settings.steps,
        swept=tuple(name for name, values in sweep.items() if len(values) > 1),
        points=results,
        remarks=(*subject.remarks, *(note for name, note in subject.notes.items() if name not in sweep)),
    )


def _check_options(options: RunOptions) -> None:
    """Nothing is pretended here: a machine that was named would be in the headline, and would not have run."""
    known = RunOptions.__annotations__
    for name in options:
        if name in Options.__annotations__ and name not in known:
            raise UsageError(f"validate runs the model on this machine and takes no {name}", hint=f"leave {name} out")
        if name not in known:
            raise UsageError(f"unknown option {name!r}", hint=did_you_mean(name, known))


def _check(settings: Settings) -> None:
    if not isinstance(settings.steps, int) or isinstance(settings.steps, bool):
        raise UsageError(f"steps is a whole number, not {settings.steps!r}", hint="steps=2")
    if settings.steps < 1:
        raise UsageError(f"--steps {settings.steps}: at least one step has to be run", hint="--steps 2")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "there is no GPU here that this torch can use, and validate runs the model for real",
            hint="--device cpu compares with what the CPU keeps; `graphmem analyze` needs no GPU",
        )


def _result(subject: Subject, prediction: Prediction, settings: Settings, existing: Existing) -> PointResult:
    try:
        measured = measure(subject, prediction.point, settings, existing)
    except RanOutError as stop:
        failed = out_of_memory(prediction, str(stop))
    else:
        return PointResult(prediction, measured, compare(prediction.saved, measured.saved))
    clean_up(settings.device)  # again: until here the error's traceback held the step's tensors
    return PointResult(prediction, None, None, failed)
