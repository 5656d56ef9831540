"""`predict`: what the static trace says about one step, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphmem.accounts.account import Kept
from graphmem.accounts.saved import ALIVE, ELSEWHERE, OTHERWISE, SAVED, sort_storages
from graphmem.analysis.tracer import Tracer
from graphmem.record import Place, Trace
from graphmem.units import allocated
from graphmem.usercode.paths import shown

# A larger request may be handed a whole block with up to this much to spare, which counts as allocated: kSmallSize in
# https://github.com/pytorch/pytorch/blob/v2.11.0/c10/cuda/CUDACachingAllocator.cpp (should_split)
UNSPLIT = 2**20


@dataclass(frozen=True)
class Expected:
    """A storage that autograd is expected to keep.

    op: the operator that makes it; kept_by: the autograd nodes that hold it; module: within which these run; made_in:
    the module whose forward makes it; where: file:line; shape, dtype: of the tensor as it is made.
    """

    nbytes: int
    op: str
    module: str
    made_in: str
    where: str | None
    shape: tuple[int, ...]
    dtype: str
    kept_by: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """One step at one point; all sizes in bytes.

    saved: the storages saved for backward, in the order in which autograd packs them.
    alive: that, and the outputs that are held and what is held otherwise. alive_allocated: each of these storages
    rounded up to 512; spare: how much more the allocator may set aside for them.
    otherwise: the part of `alive` that closures, caches and attributes hold. elsewhere: saved on another device.
    parameters, gradients, buffers, inputs: what else the step needs.
    notes: what the trace took for granted.
    """

    point: dict[str, int]
    saved: tuple[Expected, ...]
    alive: int
    alive_allocated: int
    spare: int
    otherwise: int
    elsewhere: int
    parameters: int
    gradients: int
    buffers: int
    inputs: int
    notes: tuple[str, ...]

    @property
    def saved_bytes(self) -> int:
        return sum(storage.nbytes for storage in self.saved)

    @property
    def needed(self) -> int:
        """Bytes that are in use at once when forward ends; temporaries come on top."""
        return self.parameters + self.gradients + self.buffers + self.inputs + self.alive_allocated


def predict(tracer: Tracer, point: dict[str, int]) -> Prediction:
    """Trace `point`, all layers of it."""
    trace = tracer(point)
    kept = sort_storages(trace)
    saved = sorted((k for k in kept if k.table == SAVED), key=lambda k: trace.storages[k.storage].packed)
    alive = [k.nbytes for k in kept if k.table in ALIVE]
    return Prediction(
        point=dict(point),
        saved=tuple(map(_expected, saved)),
        alive=sum(alive),
        alive_allocated=sum(map(allocated, alive)),
        spare=sum(UNSPLIT for nbytes in alive if nbytes > UNSPLIT),
        otherwise=_total(kept, OTHERWISE),
        elsewhere=_total(kept, ELSEWHERE),
        parameters=_before(trace, "parameter"),
        gradients=_gradients(trace),
        buffers=_before(trace, "buffer"),
        inputs=_before(trace, "input"),
        notes=tuple(trace.notes),
    )


def place_of(place: Place | None) -> str | None:
    """file:line, as the user would type it."""
    return f"{shown(place.file)}:{place.line}" if place else None


def _expected(kept: Kept) -> Expected:
    return Expected(
        nbytes=kept.nbytes,
        op=kept.op.name,
        module=kept.module,
        made_in=kept.made_in,
        where=place_of(kept.place),
        shape=kept.shape,
        dtype=kept.dtype,
        kept_by=tuple(dict.fromkeys(kept.keepers)),
    )


def _total(kept: Iterable[Kept], table: str) -> int:
    return sum(k.nbytes for k in kept if k.table == table)


def _before(trace: Trace, origin: str) -> int:
    return sum(s.nbytes for s in trace.storages if s.origin == origin and s.device == trace.device)


def _gradients(trace: Trace) -> int:
    facts = {
        fact.storage for op in trace.ops if op.kind == "parameter" for fact in op.outputs if fact and fact.requires_grad
    }
    return sum(trace.storages[index].nbytes for index in facts)
