"""The dataflow of a trace: who uses whose results, and what kind of operator each is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx
import torch

from graphmem.trace.record import Op, Ref, Trace, references_in

_aten = torch.ops.aten

MATMULS = {_aten.mm, _aten.bmm, _aten.baddbmm, _aten.addmm, _aten.matmul}
SOFTMAXES = {_aten._softmax, _aten._safe_softmax}


class Flow:
    """A networkx DiGraph over operator indexes; an edge runs from a result's maker to its user."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.graph: nx.DiGraph[int] = nx.DiGraph()
        self.graph.add_nodes_from(range(len(trace.ops)))
        for op in trace.ops:
            self.graph.add_edges_from((source.op, op.index) for source in references(op))

    def packet(self, index: int) -> Any:
        """The operator without its overload: `aten.bmm`. None for a placeholder."""
        op = self.trace.ops[index]
        return op.target.overloadpacket if op.kind == "call" else None

    def reach(self, start: int, forward: bool, through: Callable[[int], bool]) -> Iterator[int]:
        """Operators that can be reached from `start` through operators for which `through` holds; those where it does
        not hold are reached, but not passed."""
        step = self.graph.successors if forward else self.graph.predecessors
        seen, todo = {start}, [start]
        while todo:
            for index in step(todo.pop()):
                if index not in seen:
                    seen.add(index)
                    yield index
                    if through(index):
                        todo.append(index)

    def is_parameter(self, index: int) -> bool:
        """Whether the operator only reshapes or casts a parameter."""
        while True:
            op = self.trace.ops[index]
            if op.kind != "call":
                return op.kind == "parameter"
            sources = references(op)
            if len(sources) != 1:
                return False
            index = sources[0].op


def references(op: Op) -> list[Ref]:
    """The results that an operator takes."""
    return references_in([*op.args, *op.kwargs.values()])
