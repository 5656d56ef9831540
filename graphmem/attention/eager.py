"""Hand-written attention: a matrix product, a softmax over its last dimension, another matrix product.

    q kᵀ  ->  scale, mask, cast, cap ...  ->  softmax  ->  dropout, cast ...  ->  times v

Between the products there may be any number of operators that work element by element or change only the layout. A
product with a parameter is a linear layer: a softmax over classes or over experts is no attention.
"""

from __future__ import annotations

import networkx as nx
import torch

from graphmem.attention.flow import MATMULS, SOFTMAXES, Flow, references
from graphmem.attention.site import Site

_aten = torch.ops.aten

# What may stand between the products, apart from pointwise and view operators.
_ALSO = {
    _aten.clone, _aten._to_copy, _aten.copy_, _aten.native_dropout, _aten.bernoulli_, _aten._unsafe_view, _aten.cat,
    _aten.masked_fill, _aten.masked_fill_, _aten.add_, _aten.mul_, _aten.div_, _aten.constant_pad_nd,
    _aten.amax, _aten.slice_scatter,
} | SOFTMAXES  # fmt: skip


def find(flow: Flow) -> list[Site]:
    """Sites around every softmax that lies between two matrix products of activations."""
    found = []
    for op in flow.trace.ops:
        if flow.packet(op.index) in SOFTMAXES:
            site = _around(flow, op.index)
            if site is not None:
                found.append(site)
    return found


def _around(flow: Flow, softmax: int) -> Site | None:
    op = flow.trace.ops[softmax]
    fact = op.outputs[0]
    if fact is None or len(fact.shape) < 3 or op.args[1] not in (-1, len(fact.shape) - 1):
        return None

    def passes(index: int) -> bool:
        return _elementwise(flow, index)

    behind = {softmax, *(i for i in flow.reach(softmax, False, passes))}
    ahead = {softmax, *(i for i in flow.reach(softmax, True, passes))}
    scores = [i for i in behind if _product_of_activations(flow, i)]
    outputs = [i for i in ahead if _product_of_activations(flow, i)]
    if not scores or not outputs:
        return None
    # Only the operators on a way from the scores to the output belong to it, and no masks' history.
    inner = {i for i in behind | ahead if passes(i)} | set(scores) | set(outputs)
    subgraph = flow.graph.subgraph(inner)
    region = _between(subgraph, set(scores), set(outputs))
    if softmax not in region:
        return None
    return Site(
        module=flow.trace.calls[op.call].path if op.call >= 0 else "",
        kind="standard",
        kernel="eager",
        why="a softmax between two products of activations: its result is kept",
        place=op.place,
        ops=frozenset(region),
    )


def _between(graph: nx.DiGraph[int], starts: set[int], ends: set[int]) -> set[int]:
    after = starts | {n for s in starts for n in nx.descendants(graph, s)}
    before = ends | {n for e in ends for n in nx.ancestors(graph, e)}
    return after & before


def _elementwise(flow: Flow, index: int) -> bool:
    op = flow.trace.ops[index]
    if op.kind != "call":
        return False
    return torch.Tag.pointwise in op.target.tags or op.target.is_view or flow.packet(index) in _ALSO


def _product_of_activations(flow: Flow, index: int) -> bool:
    if flow.packet(index) not in MATMULS:
        return False
    return not any(flow.is_parameter(ref.op) for ref in references(flow.trace.ops[index]))
