"""`measure`: warm up, then one step under watch."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from graphmem.errors import ModelError
from graphmem.escapes import said
from graphmem.how import How
from graphmem.load import Subject
from graphmem.trace.forward import call_arguments, run_forward
from graphmem.trace.inputs import named_tensors
from graphmem.usercode.garbage import set_aside
from graphmem.usercode.turn import users_turn
from graphmem.validation.allocator import Counters, counters, peak, release, reset_peak
from graphmem.validation.model import real_inputs, real_model
from graphmem.validation.watch import Existing, Left, Observed, Stored, Watch, storages_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a point is run: as `how` says, for so many steps, of which all but the last warm up."""

    how: How
    steps: int

    @property
    def device(self) -> str:
        return self.how.machine.device


@dataclass(frozen=True)
class Measurement:
    """One step as it was; all sizes in bytes.

    saved: storages that autograd kept, in the order of packing. elsewhere: saved on another device.
    earlier: sizes of what earlier steps had made and something held, such as a mask in an attribute. This step reuses
    or replaces them, so they are not part of `rise`.
    rise: of the allocator's counters over forward, with only the loss (or the outputs) held. left: over the whole step.
    before, peak: memory_allocated before the step, max_memory_allocated in it. None on the CPU.
    """

    saved: tuple[Observed, ...]
    elsewhere: int
    earlier: tuple[int, ...]
    rise: Counters | None
    left: Counters | None
    before: int | None
    peak: int | None

    @property
    def earlier_bytes(self) -> int:
        return sum(self.earlier)

    @property
    def saved_bytes(self) -> int:
        return sum(storage.nbytes for storage in self.saved)


class RanOutError(Exception):
    """The device ran out of memory; the message says during what."""


@contextmanager
def frozen() -> Iterator[Existing]:
    """While points are measured: what is there already is not the garbage of a step."""
    gc.collect()  # what is garbage by now would not be freed
    existing = Existing()  # the collector lists nothing that is set aside
    with set_aside():
        yield existing


def measure(subject: Subject, point: dict[str, int], settings: Settings, existing: Existing) -> Measurement:
    """Build the model at `point` and run it. Nothing of it is left afterwards.

    Args:
        existing: what was there when everything was `frozen`.

    Raises:
        RanOutError: it did not fit.
        ModelError: the model's code raised.
    """
    try:
        with subject.home.entered():
            return _measured(subject, point, settings, existing)
    except RuntimeError as error:
        if "CUDA error" not in said(error):
            raise
        raise ModelError(  # kernels run behind: it may come out anywhere
            f"the GPU stopped: {said(error).splitlines()[0]}",
            hint="most often an index that is out of range: --device cpu, with smaller sizes, says where",
        ) from error
    finally:
        clean_up(settings.device)


def clean_up(device: str) -> None:
    """Free what nothing holds any more, and give it back to the device."""
    gc.collect()
    release(device)


def _measured(subject: Subject, point: dict[str, int], settings: Settings, existing: Existing) -> Measurement:
    with _running_out("building the model"):
        module = real_model(subject, point, settings.device, settings.how.dtype)
        inputs = real_inputs(subject, point, settings.device, settings.how.dtype)
    return _last_of(_Step(subject, module, inputs, settings, Existing(existing)), settings)


def _last_of(step: _Step, settings: Settings) -> Measurement:
    """Run all steps; the last one is measured."""
    earlier = []
    for _ in range(settings.steps - 1):
        earlier.append(step.run()[0])
        gc.collect()  # what only reference cycles hold would otherwise be freed in the middle of the next step
    left = step.left(earlier)
    at_start = counters(settings.device)
    reset_peak(settings.device)
    stored, at_end_of_forward = step.run()
    highest = peak(settings.device)
    gc.collect()
    at_end = counters(settings.device)
    return Measurement(
        saved=stored.saved,
        elsewhere=stored.elsewhere,
        earlier=left.part_of(step.left([*earlier, stored]), stored),
        rise=_difference(at_end_of_forward, at_start),
        left=_difference(at_end, at_start),
        before=at_start.allocated if at_start else None,
        peak=highest,
    )


def _difference(after: Counters | None, before: Counters | None) -> Counters | None:
    return after - before if after is not None and before is not None else None


@dataclass(frozen=True)
class _Step:
    """Forward, loss and backward of one model on one set of inputs; gradients stay, as in training."""

    subject: Subject
    module: nn.Module
    inputs: Any
    settings: Settings
    existing: Existing

    def run(self) -> tuple[Stored, Counters | None]:
        """What autograd kept after forward, and the allocator's counters then."""
        watch, device = Watch(), self.settings.device
        outputs = self._forward(watch)
        gc.collect()
        now = counters(device)
        stored = watch.stored(device, outputs, self.existing.ids | storages_of(self._own()))
        self._backward(outputs)
        return stored, now

    def left(self, steps: list[Stored]) -> Left:
        """What the steps so far left behind, except gradients."""
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        others = self.existing.ids | storages_of([*self._own(), *gradients])
        return Left(self.settings.device, steps, others)

    def _own(self) -> list[torch.Tensor]:
        """Looked up after forward: a running statistic may have been replaced."""
        return [*self.module.parameters(), *self.module.buffers(), *named_tensors(self.inputs).values()]

    def _forward(self, watch: Watch) -> list[torch.Tensor]:
        args, kwargs = call_arguments(self.inputs)
        cast = self.settings.how.autocast
        under = torch.autocast(self.settings.device, cast) if cast else contextlib.nullcontext()
        with _running_out("forward"), torch.enable_grad(), watch.hooks(), under, users_turn(real=True):
            return run_forward(self.module, args, kwargs, self.subject.loss, lambda: "").tensors

    def _backward(self, outputs: list[torch.Tensor]) -> None:
        roots = [t for t in outputs if t.requires_grad]
        if not roots:
            return
        with _running_out("backward"), _blamed_on_the_model():
            torch.autograd.backward(roots, [torch.ones_like(t) for t in roots])


@contextmanager
def _blamed_on_the_model() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        first = next(iter(said(error).strip().splitlines()), "")
        raise ModelError(
            f"backward raised {type(error).__name__}: {first}", hint="see all of it with --traceback"
        ) from error


@contextmanager
def _running_out(during: str) -> Iterator[None]:
    """Turn out-of-memory errors, however they are wrapped, into RanOutError."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise RanOutError(during) from None
        raise


# What the CPU's allocator, the CUDA runtime and cuBLAS and cuDNN say, each as a plain RuntimeError.
_RAN_OUT = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or one behind it, says that memory did not suffice."""
    while error is not None:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(text in said(error) for text in _RAN_OUT):
            return True
        error = error.__cause__ or error.__context__
    return False
