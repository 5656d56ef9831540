"""A trace as a `torch.fx.Graph` with the metadata that other tools expect of one."""

from __future__ import annotations

import linecache
import operator
from typing import Any

import torch
from torch.fx import Graph, Node

from graphmem._torch import FakeTensorMode, schema_of
from graphmem.record.trace import Op, Place, Ref, TensorFact, Trace


def to_graph(trace: Trace) -> Graph:
    """The trace's operators as call_function nodes, parameters, buffers and inputs as placeholders.

    node.meta:
        val: a FakeTensor (or a tuple of them) of the result's shape, stride, dtype and device.
        nn_module_stack: {path: (path, class name)}, outermost module first.
        stack_trace: the user's lines, innermost last, as in a traceback.
        storage: index of the result's storage (a tuple of them where there are several results); views share one.
        kept_by: names of the autograd nodes that hold that storage after forward.
    """
    graph = Graph()
    mode = FakeTensorMode()
    results: dict[int, Node] = {}
    nodes: dict[Ref, Node] = {}
    for op in trace.ops:
        node = _node(graph, op, results, nodes, trace, mode)
        results[op.index] = node
        node.meta.update(_meta(op, trace, mode))
    graph.output(None)
    graph.lint()
    return graph


def _node(
    graph: Graph, op: Op, results: dict[int, Node], nodes: dict[Ref, Node], trace: Trace, mode: FakeTensorMode
) -> Node:
    if op.kind != "call":
        return graph.placeholder(op.name.replace(".", "_") or "input")

    def rebuilt(value: Any) -> Any:
        if isinstance(value, Ref):
            return _result(graph, value, results, nodes, trace, mode)
        if type(value) in (list, tuple):
            return type(value)(rebuilt(v) for v in value)
        return value

    return graph.call_function(op.target, tuple(map(rebuilt, op.args)), {k: rebuilt(v) for k, v in op.kwargs.items()})


def _result(
    graph: Graph, ref: Ref, results: dict[int, Node], nodes: dict[Ref, Node], trace: Trace, mode: FakeTensorMode
) -> Node:
    """The node of one result: the operator's own, or a getitem of it where it returns several."""
    maker = trace.ops[ref.op]
    if maker.kind != "call" or (len(schema_of(maker.target).returns) == 1 and len(maker.outputs) == 1):
        return results[ref.op]
    if ref not in nodes:
        nodes[ref] = graph.call_function(operator.getitem, (results[ref.op], ref.output))
        fact = maker.outputs[ref.output]
        if fact is not None:
            nodes[ref].meta.update(val=_fake(fact, mode), storage=fact.storage, kept_by=_keepers(fact, trace))
    return nodes[ref]


def _meta(op: Op, trace: Trace, mode: FakeTensorMode) -> dict[str, Any]:
    facts = [f for f in op.outputs if f is not None]
    values = tuple(_fake(f, mode) for f in facts)
    single = len(op.outputs) == 1
    return {
        "val": values[0] if single and values else values,
        "nn_module_stack": {
            trace.calls[c].path: (trace.calls[c].path, trace.calls[c].cls) for c in trace.call_path(op.call)
        },
        "stack_trace": _stack_trace(op.stack),
        "storage": facts[0].storage if single and facts else tuple(f.storage for f in facts),
        "kept_by": tuple(dict.fromkeys(name for f in facts for name in _keepers(f, trace))),
    }


def _fake(fact: TensorFact, mode: FakeTensorMode) -> torch.Tensor:
    with mode:
        return torch.empty_strided(fact.shape, fact.stride, dtype=fact.dtype, device=fact.device)


def _keepers(fact: TensorFact, trace: Trace) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keep.node for keep in trace.storages[fact.storage].keeps))


def _stack_trace(stack: tuple[Place, ...]) -> str:
    lines = []
    for place in reversed(stack):
        lines.append(f'  File "{place.file}", line {place.line}, in {place.function}')
        source = linecache.getline(place.file, place.line).strip()
        if source:
            lines.append(f"    {source}")
    return "\n".join(lines)
