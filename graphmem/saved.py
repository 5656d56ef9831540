"""From a trace to what autograd keeps: every storage once, with who made it and who keeps it.

A storage counts as *saved for backward* if it came into being during forward, is on the target device, and a saved tensor
in the autograd graph still holds it after forward. Everything else that is alive is sorted into the other tables.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphmem.trace.record import Op, Place, Storage, Trace

SHARED = "*"


@dataclass(frozen=True)
class Kept:
    """One storage that autograd keeps.

    storage: its index in the trace; op: the operator that made it.
    module: the innermost module within which all its keepers ran: the attention for what q, k and v projections share.
    made_in: the module whose forward made it. Both with layer numbers in place.
    ordinal: which operator of that module call made it, counted from 0.
    shape, dtype: of the tensor as it was made; nbytes: of the storage.
    keepers: names of the autograd nodes; keeper_ops: the operators these belong to.
    """

    storage: int
    op: Op
    module: str
    made_in: str
    ordinal: int
    shape: tuple[int, ...]
    dtype: str
    itemsize: int
    nbytes: int
    keepers: tuple[str, ...]
    keeper_ops: tuple[int, ...]

    @property
    def place(self) -> Place | None:
        return self.op.place


@dataclass(frozen=True)
class Fate:
    """What became of every storage that is alive after forward, in logical bytes.

    held_outputs: kept by the caller and saved by no node. held_otherwise: by a closure, a cache or an attribute.
    saved_inputs, saved_parameters, saved_buffers: what nodes hold of tensors that were there before.
    saved_elsewhere: held by nodes on another device than the target's, such as RNG seeds on the CPU.
    """

    kept: tuple[Kept, ...]
    held_outputs: int
    held_otherwise: int
    saved_inputs: int
    saved_parameters: int
    saved_buffers: int
    saved_elsewhere: int
    parameters: int


def sort_storages(trace: Trace) -> Fate:
    """Put every storage of the trace into exactly one place."""
    totals: Counter[str] = Counter()
    kept = []
    ordinals = _ordinals(trace)
    for storage in trace.storages:
        table = _table(storage, trace.device)
        totals[table] += storage.nbytes
        if storage.origin == "parameter":
            totals["parameters"] += storage.nbytes
        if table == "saved" and storage.nbytes:
            kept.append(_kept(storage, trace, ordinals))
    return Fate(
        kept=tuple(kept),
        held_outputs=totals["held_outputs"],
        held_otherwise=totals["held_otherwise"],
        saved_inputs=totals["saved_input"],
        saved_parameters=totals["saved_parameter"],
        saved_buffers=totals["saved_buffer"] + totals["saved_constant"],
        saved_elsewhere=totals["saved_elsewhere"],
        parameters=totals["parameters"],
    )


def _table(storage: Storage, device: str) -> str:
    if storage.keeps and storage.device != device:
        return "saved_elsewhere"
    if storage.keeps:
        return "saved" if storage.origin == "forward" else f"saved_{storage.origin}"
    if storage.alive and storage.origin == "forward" and storage.device == device:
        return "held_outputs" if storage.held else "held_otherwise"
    return "gone"


def _kept(storage: Storage, trace: Trace, ordinals: list[int]) -> Kept:
    op = trace.ops[storage.born.op]
    fact = op.outputs[storage.born.output]
    assert fact is not None, "a storage is born as a tensor"
    return Kept(
        storage=storage.index,
        op=op,
        module=_common_module(storage, trace),
        made_in=trace.calls[op.call].path if op.call >= 0 else "",
        ordinal=ordinals[op.index],
        shape=fact.shape,
        dtype=str(fact.dtype).removeprefix("torch."),
        itemsize=fact.dtype.itemsize,
        nbytes=storage.nbytes,
        keepers=tuple(keep.node for keep in storage.keeps),
        keeper_ops=tuple(sorted({keep.op for keep in storage.keeps if keep.op >= 0})),
    )


def _common_module(storage: Storage, trace: Trace) -> str:
    paths = [trace.call_path(keep.call) for keep in storage.keeps]
    common = 0
    while all(len(p) > common for p in paths) and len({p[common] for p in paths}) == 1:
        common += 1
    return trace.calls[paths[0][common - 1]].path if common else ""


def _ordinals(trace: Trace) -> list[int]:
    seen: Counter[int] = Counter()
    ordinals = []
    for op in trace.ops:
        ordinals.append(seen[op.call])
        seen[op.call] += 1
    return ordinals


def folded(path: str, containers: frozenset[str]) -> tuple[str, tuple[int, ...]]:
    """`layers.3.attn` as (`layers.*.attn`, (3,)): the number of every layer in one of `containers` is taken out."""
    parts = path.split(".") if path else []
    numbers = []
    for i, part in enumerate(parts):
        if part.isdigit() and ".".join(_numbered(parts[:i], numbers)) in containers:
            numbers.append(int(part))
            parts[i] = SHARED
    return ".".join(parts), tuple(numbers)


def _numbered(parts: list[str], numbers: list[int]) -> list[str]:
    """Put the numbers back that `folded` has taken out so far."""
    remaining = iter(numbers)
    return [str(next(remaining)) if part == SHARED else part for part in parts]
