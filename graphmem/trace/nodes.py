"""Autograd nodes by their sequence number, and the operators that they differentiate."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from graphmem._torch import node_number
from graphmem.record import NO_NODE, Trace, saves_what_it_overwrites

# Operators, with about a node each. One takes a few hundred bytes of the stack, and a thread may have 512 KiB only.
_LARGE = 1000
_thread = threading.local()


@contextmanager
def frees_in_order() -> Iterator[None]:
    """When the function that this decorates is over, the graphs that it gave to `free_in_order` are freed node by node.

    A node that Python has seen is freed by its own destructor, and that frees the next one from within. A graph of
    100,000 nodes is deeper than the stack, and ends the process.
    """
    outer = getattr(_thread, "nodes", None)
    nodes = _thread.nodes = list[Any]()
    try:
        yield
    finally:
        _thread.nodes = outer
        while nodes:
            nodes.pop()  # what backward runs first, so that this list still holds whatever comes after it


def free_in_order(outputs: Iterable[torch.Tensor], operators: int) -> None:
    """Hold the graph behind `outputs` until the function is over, where so many operators made a large one."""
    if operators > _LARGE:
        _thread.nodes += sorted(_walked(outputs), key=_order)


def _order(node: Any) -> int:
    """Leaves, which accumulate a parameter's gradient, come first, then what forward made later and later."""
    return node_number(node) if node.next_functions else -1


def nodes_by_sequence(outputs: Iterable[torch.Tensor]) -> dict[int, str]:
    """The autograd graph behind `outputs`: sequence number -> node name."""
    return {node_number(node): node.name().split("::")[-1] for node in _walked(outputs)}


def _walked(outputs: Iterable[torch.Tensor]) -> set[Any]:
    seen = set()
    todo = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        todo += [following for following, _ in node.next_functions if following is not None]
    return seen


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
