"""`settle`: what became of every storage, once forward is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from graphmem.record import CHECKPOINT, UNREACHED, Keep, Place
from graphmem.trace.nodes import differentiated, nodes_by_sequence
from graphmem.trace.packs import Packed, Packs
from graphmem.trace.tape import Tape


class Saved(NamedTuple):
    """What is noted of a tensor that is packed: the index of its storage, the module call under way, and, for the input
    of a checkpoint, the line that checkpoints."""

    storage: int
    call: int
    checkpoint: Place | None


def settle(tape: Tape, packs: Packs[Saved], held: Sequence[torch.Tensor], buffers: Sequence[torch.Tensor]) -> None:
    """Write down who keeps each storage, and which ones the caller holds.

    Args:
        held: the loss, or the outputs where there is no loss.
        buffers: the module's, after forward: a running statistic that forward made anew has replaced the one before.
    """
    storages = tape.record.storages
    tape.record.differentiable = any(tensor.requires_grad for tensor in held)
    keeps = _keeps(tape, packs, nodes_by_sequence(held), held)
    for order, index in enumerate(keeps):
        storages[index].packed = order
    for storage, weak in zip(storages, tape.weak, strict=True):
        storage.alive = not weak.expired()
        storage.keeps = tuple(keeps.get(storage.index, ()))
    for storage in filter(None, map(tape.known, held)):
        storage.held = True
    for storage in filter(None, map(tape.known, buffers)):
        if storage.origin == "forward":
            storage.origin = "buffer"


def _keeps(
    tape: Tape, packs: Packs[Saved], nodes: dict[int, str], held: Sequence[torch.Tensor]
) -> dict[int, list[Keep]]:
    """Storage -> who keeps it, in the order in which the storages were packed."""
    ops, clones = differentiated(tape.record, nodes)
    keeps: dict[int, list[Keep]] = {}

    def add(packed: Packed[Saved], index: int | None) -> None:
        keep = _keep(packed, clones.get(packed.sequence, packed.sequence), nodes, ops)
        if index is not None and keep not in (known := keeps.setdefault(index, [])):
            known.append(keep)

    for packed, storage in packs.alive():
        add(packed, tape.index(storage.identity))
    explained = {*keeps, *(s.index for s in map(tape.known, held) if s is not None)}
    for packed, storage in packs.left():
        index = tape.index(storage.identity)
        if index is not None and index not in explained and not tape.weak[index].expired():
            add(packed, index)
    return keeps


def _keep(packed: Packed[Saved], sequence: int, nodes: dict[int, str], ops: dict[int, int]) -> Keep:
    _, call, checkpoint = packed.note
    node = nodes.get(sequence, UNREACHED)
    if checkpoint is not None and "Checkpoint" not in node:  # it makes no node: its number is that of the node before
        return Keep(CHECKPOINT, -1, call, checkpoint)
    return Keep(node, ops.get(sequence, -1), call, checkpoint)
