"""`validate`: predict all points, refuse what cannot fit, run each, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from graphmem.analysis import Tracer, as_autocast, as_dtype
from graphmem.errors import TargetDeviceError, UsageError
from graphmem.load import Subject, Wishes, from_factories, from_module, isolated, load_target
from graphmem.target import Target, resolve
from graphmem.trace.assumptions import read_assumptions
from graphmem.validate.compare import compare
from graphmem.validate.needs import out_of_memory, refuse_what_cannot_fit
from graphmem.validate.predict import Prediction, predict
from graphmem.validate.result import PointResult, Validation
from graphmem.validate.step import RanOutError, Settings, clean_up, frozen, measure
from graphmem.validate.sweep import Sweep, points_of
from graphmem.validate.watch import Existing


def validate(
    model: nn.Module | Callable[..., nn.Module],
    inputs: Any,
    *,
    device: str = "cuda",
    sweep: Sweep | None = None,
    steps: int = 2,
    dtype: torch.dtype | str | None = None,
    autocast: torch.dtype | str | None = None,
    symbols: Mapping[str, int] | None = None,
    loss: Callable[[Any], torch.Tensor] | None = None,
    assume: Mapping[str, object] | None = None,
    force: bool = False,
) -> Validation:
    """Run forward, loss and backward for real and compare what autograd keeps with the prediction.

    Args:
        model, inputs: two functions whose parameters are the symbols, or a module and tensors, both with values (the
            module is copied).
        device: "cuda", the GPU of this process, or "cpu".
        sweep: values of symbols, {"s": [512, 1024], "b": [1, 4]}: every combination is run.
        steps: training steps for each point; all but the last warm up.
        dtype, autocast, symbols, loss, assume: as for `graphmem.analyze`; dtype casts model and floating inputs.
        force: run what does not fit by its own prediction.

    Raises:
        GraphmemError: see `graphmem.errors`. A point that runs out of memory does not raise: see its `failed`.
    """

    def load() -> Subject:
        if isinstance(model, nn.Module):
            return from_module(model, inputs, loss=loss, symbols=symbols)
        name = getattr(model, "__qualname__", type(model).__name__)
        return from_factories(model, inputs, name=name, loss=loss, settings=symbols)

    with isolated(standing_in=False):
        return _validate(load, device, sweep or {}, steps, dtype, autocast, assume, force)


def validate_target(
    target: str,
    *,
    device: str = "cuda",
    sweep: Sweep | None = None,
    steps: int = 2,
    dtype: torch.dtype | str | None = None,
    autocast: torch.dtype | str | None = None,
    wishes: Wishes | None = None,
    assume: Mapping[str, object] | None = None,
    force: bool = False,
    changed: list[str] | None = None,
) -> Validation:
    """`validate` for ``model.py``, ``model.py:factory`` or ``package.module:factory``, with stdout kept clean.

    Args:
        wishes: what `--set` and its like say beside the target.
        changed: gets a sentence for each setting of the process that the model's code changed.
    """
    with isolated(changed, keep_stdout_clean=True, standing_in=False):
        return _validate(
            lambda: load_target(target, wishes), device, sweep or {}, steps, dtype, autocast, assume, force
        )


def _validate(
    load: Callable[[], Subject],
    device: str,
    sweep: Sweep,
    steps: int,
    dtype: torch.dtype | str | None,
    autocast: torch.dtype | str | None,
    assume: Mapping[str, object] | None,
    force: bool,
) -> Validation:
    how = Settings(device, as_dtype(dtype), as_autocast(autocast), steps)
    _check(how)
    target = resolve(gpu=None, device=device)
    # Loaded first without stand-ins: a real run needs real packages, and says at once where one is missing.
    subject = load()
    points = points_of(sweep, subject.symbols)
    with isolated():
        predictions = _predictions(load(), target, how, points, assume)
    if not force:
        refuse_what_cannot_fit(predictions, device)
    with frozen() as existing:
        results = tuple(_result(subject, prediction, how, existing) for prediction in predictions)
    named = (("dtype", how.dtype), ("autocast", how.autocast))
    return Validation(
        name=subject.name,
        target=target.describe(),
        device=device,
        settings={name: str(value).removeprefix("torch.") for name, value in named if value is not None},
        steps=steps,
        swept=tuple(name for name, values in sweep.items() if len(values) > 1),
        points=results,
    )


def _check(how: Settings) -> None:
    if how.steps < 1:
        raise UsageError(f"--steps {how.steps}: at least one step has to be run", hint="--steps 2")
    if how.device == "cuda" and not torch.cuda.is_available():
        raise TargetDeviceError(
            "there is no GPU here that this torch can use, and validate runs the model for real",
            hint="--device cpu compares with what the CPU keeps; `graphmem analyze` needs no GPU",
        )


def _predictions(
    subject: Subject, target: Target, how: Settings, points: list[dict[str, int]], assume: Mapping[str, object] | None
) -> list[Prediction]:
    assumptions = read_assumptions(assume or {})
    found = []
    for point in points:  # a tracer of its own for each: a trace is large, and a prediction is not
        found.append(predict(Tracer(subject, target, how.dtype, how.autocast, assumptions), point))
    return found


def _result(subject: Subject, prediction: Prediction, how: Settings, existing: Existing) -> PointResult:
    try:
        measured = measure(subject, prediction.point, how, existing)
    except RanOutError as stop:
        failed = out_of_memory(prediction, str(stop))
    else:
        return PointResult(prediction, measured, compare(prediction.saved, measured.saved))
    clean_up(how.device)  # again: until here the error's traceback held the step's tensors
    return PointResult(prediction, None, None, failed)
