"""Autograd nodes by their sequence number, and the operators that they differentiate."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch

from graphmem._torch import node_number
from graphmem.record import NO_NODE, Trace, saves_what_it_overwrites


def nodes_by_sequence(outputs: Iterable[torch.Tensor]) -> dict[int, str]:
    """The autograd graph behind `outputs`: sequence number -> node name."""
    found: dict[int, str] = {}
    seen = set()
    todo = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        found[node_number(node)] = node.name().split("::")[-1]
        todo += [following for following, _ in node.next_functions if following is not None]
    return found


def differentiated(trace: Trace, nodes: dict[int, str]) -> tuple[dict[int, int], dict[int, int]]:
    """The operator that each node differentiates, both by number; and for the number at which autograd kept a clone of
    what an operator overwrites, the number of that operator's node."""
    ops: dict[int, int] = {}
    clones: dict[int, int] = {}
    calls = [op for op in trace.ops if op.kind == "call" and op.sequence != NO_NODE]
    for before, op in itertools.pairwise(calls):
        if saves_what_it_overwrites(before, op):
            latest = op.sequence - 1  # the clone's own node, if it has one, which nothing leads to
            own = latest if latest in nodes else latest - 1
            ops[own], clones[latest] = op.index, own
    for op in calls:
        # The first operator after node n was made is the one it differentiates; n is one below the counter.
        ops.setdefault(op.sequence - 1, op.index)
    return ops, clones
