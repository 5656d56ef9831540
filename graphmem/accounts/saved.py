"""The account of what is alive after forward: every storage once, with who made it and who keeps it.

A storage is *saved for backward* if it came into being during forward, is on the target device, and a saved tensor in
the autograd graph still holds it after forward. Everything else that is alive is in a table of its own.
"""

from __future__ import annotations

from collections import Counter

from graphmem.accounts.account import Kept, Ordinal
from graphmem.record import Storage, Trace
from graphmem.record.paths import folded

# The tables. SAVED is what the tool is about; ALIVE is what the step still holds of what forward made.
SAVED = "saved"
OUTPUT = "output"  # held by the caller, saved by no node
OTHERWISE = "held otherwise"  # a closure, a cache, an attribute
INPUT, PARAMETER, BUFFER = "saved input", "saved parameter", "saved buffer"  # there before forward
ELSEWHERE = "saved elsewhere"  # on another device than the target's, such as RNG seeds on the CPU
BESIDE = "other outputs"  # held by what forward returns beside its loss, and by nothing else
ALIVE = (SAVED, OUTPUT, OTHERWISE)


def sort_storages(trace: Trace) -> tuple[Kept, ...]:
    """Every storage of the trace that is alive after forward, in exactly one table; parameters are left out.

    Beside these, what is alive for as long as the caller holds all outputs.
    """
    ordinals = _ordinals(trace)
    return tuple(
        _kept(storage, table, trace, ordinals)
        for storage in trace.storages
        if (table := _table(storage, trace.device)) not in (None, PARAMETER) and storage.nbytes
    )


def _table(storage: Storage, device: str) -> str | None:
    if storage.keeps and storage.device != device:
        return ELSEWHERE
    if storage.keeps:
        before = {"input": INPUT, "parameter": PARAMETER, "buffer": BUFFER, "constant": BUFFER}
        return before.get(storage.origin, SAVED)
    if storage.alive and storage.origin == "forward" and storage.device == device:
        return OUTPUT if storage.held else OTHERWISE
    return BESIDE if storage.beside and storage.device == device else None


def _kept(storage: Storage, table: str | None, trace: Trace, ordinals: list[Ordinal]) -> Kept:
    op = trace.ops[storage.born.op]
    fact = op.outputs[storage.born.output]
    assert table is not None
    assert fact is not None, "a storage is born as a tensor"
    return Kept(
        table=table,
        storage=storage.index,
        op=op,
        module=trace.common_module(keep.call for keep in storage.keeps),
        made_in=trace.calls[op.call].path if op.call >= 0 else "",
        # What is only held has no keeper to identify it, and its place in a loop depends on the depth.
        ordinal=ordinals[op.index] if table == SAVED else ("", 0),
        shape=fact.shape,
        dtype=str(fact.dtype).removeprefix("torch."),
        itemsize=fact.dtype.itemsize,
        nbytes=storage.nbytes,
        keepers=tuple(keep.node for keep in storage.keeps),
        keeper_ops=tuple(sorted({keep.op for keep in storage.keeps if keep.op >= 0})),
        counted=table in ALIVE,
    )


def _ordinals(trace: Trace) -> list[Ordinal]:
    """Where in its module's forward each operator ran: after which child module, and as which operator since then.

    Counted from the last child, an operator in a loop over layers has the same place after each of them.
    """
    last_child: dict[int, int] = {}
    since: Counter[int] = Counter()
    ordinals = []
    for op in trace.ops:
        child, call = -1, op.call
        while call >= 0:
            if child >= 0 and last_child.get(call) != child:
                last_child[call] = child
                since[call] = 0
            child, call = call, trace.calls[call].parent
        after = trace.calls[last_child[op.call]].path if op.call in last_child else ""
        ordinals.append((folded(after, trace.containers)[0], since[op.call]))
        since[op.call] += op.kind == "call"  # placeholders have names, and their number depends on the depth
    return ordinals
