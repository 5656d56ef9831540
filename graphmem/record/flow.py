"""The dataflow of a trace as a graph, and questions about it that all kinds of attention ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import torch

from graphmem._torch import schema_of
from graphmem.record.trace import Op, Ref, TensorFact, Trace, references

_aten = torch.ops.aten

MATMULS = {_aten.mm, _aten.bmm, _aten.baddbmm, _aten.addmm, _aten.matmul}

# What works element by element or only moves elements, though torch does not tag it so.
_ELEMENTWISE = {
    _aten.clone, _aten._to_copy, _aten.copy_, _aten.native_dropout, _aten.bernoulli_, _aten._unsafe_view, _aten.cat,
    _aten.stack, _aten.masked_fill, _aten.masked_fill_, _aten.add_, _aten.mul_, _aten.div_, _aten.sub_,
    _aten.constant_pad_nd, _aten.slice_scatter, _aten.select_scatter, _aten.as_strided, _aten.gather, _aten.index,
    _aten.index_select, _aten.index_put, _aten.index_put_, _aten.roll, _aten.flip, _aten.unfold, _aten.repeat,
    _aten.fill_, _aten.tril, _aten.triu, _aten._softmax, _aten._safe_softmax, _aten._log_softmax, _aten.amax,
    _aten.max, _aten.logsumexp, _aten.topk, _aten.scatter,
}  # fmt: skip


class Flow:
    """A directed graph over operator indexes; an edge runs from a result's maker to its user.

    Two lists of neighbours are all it needs: a graph library takes longer to import than this takes to run.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        # Dicts are sets that keep their order.
        self._users: list[dict[int, None]] = [{} for _ in trace.ops]
        self._makers: list[dict[int, None]] = [{} for _ in trace.ops]
        writers: dict[int, list[int]] = {}
        for op in trace.ops:
            sources = references(op)
            for source in sources:
                self._connect(source.op, op.index)
            # Who takes a tensor also takes what was written into it, though the reference names its maker.
            for fact in map(self.fact, sources):
                for writer in writers.get(fact.storage, ()) if fact is not None else ():
                    self._connect(writer, op.index)
            for storage in self._written(op):
                writers.setdefault(storage, []).append(op.index)

    def _connect(self, maker: int, user: int) -> None:
        self._users[maker][user] = None
        self._makers[user][maker] = None

    def users(self, index: int) -> list[int]:
        """The operators that take a result of operator `index`, or what it wrote into, in their order."""
        return sorted(self._users[index])

    def packet(self, index: int) -> Any:
        """The operator without its overload: `aten.bmm`. None for a placeholder."""
        op = self.trace.ops[index]
        return op.target.overloadpacket if op.kind == "call" else None

    def fact(self, ref: Ref) -> TensorFact | None:
        """The tensor behind a reference."""
        return self.trace.fact(ref)

    def _written(self, op: Op) -> list[int]:
        """The storages that the operator writes into."""
        if op.kind != "call" or not schema_of(op.target).is_mutable:
            return []
        written = [
            value
            for argument, value in zip(schema_of(op.target).arguments, op.args, strict=False)
            if argument.is_write and isinstance(value, Ref)
        ]
        return [fact.storage for fact in map(self.fact, written) if fact is not None]

    def reach(self, start: int, forward: bool, through: Callable[[int], bool]) -> Iterator[int]:
        """Operators that can be reached from `start` through operators for which `through` holds; those where it does
        not hold are reached, but not passed."""
        next_to = self._users if forward else self._makers
        seen, todo = {start}, [start]
        while todo:
            for index in next_to[todo.pop()]:
                if index not in seen:
                    seen.add(index)
                    yield index
                    if through(index):
                        todo.append(index)

    def between(self, inner: Iterable[int], starts: set[int], ends: set[int]) -> set[int]:
        """The operators of `inner` on a way from one of `starts` to one of `ends`, those included."""
        whole = {*inner, *starts, *ends}
        after = starts | {n for s in starts for n in self.reach(s, True, whole.__contains__)}
        before = ends | {n for e in ends for n in self.reach(e, False, whole.__contains__)}
        return after & before & whole

    def elementwise(self, index: int) -> bool:
        """Whether the operator works element by element, or only moves elements."""
        op = self.trace.ops[index]
        if op.kind != "call":
            return False
        return torch.Tag.pointwise in op.target.tags or op.target.is_view or self.packet(index) in _ELEMENTWISE

    def factors(self, index: int) -> tuple[Ref, Ref] | None:
        """The two operands of a product of activations: a matrix product, or a broadcast product that is summed up.

        None for anything else. A product with a weight is a linear layer, not a product of activations.
        """
        op = self.trace.ops[index]
        packet = self.packet(index)
        if packet in MATMULS:
            left, right = [a for a in op.args if isinstance(a, Ref)][-2:]
        elif packet is _aten.sum and (outer := self._outer_product(op)) is not None:
            left, right = outer
        else:
            return None
        return None if self.is_weight(left.op) or self.is_weight(right.op) else (left, right)

    def contracted(self, index: int) -> int:
        """The size of the dimension over which a product sums."""
        left = (self.factors(index) or (None,))[0]
        fact = self.fact(left) if left is not None else None
        return fact.shape[-1] if fact is not None else 0

    def columns(self, index: int) -> int:
        """The size of a product's last dimension."""
        fact = self.trace.ops[index].outputs[0]
        return fact.shape[-1] if fact is not None and fact.shape else 0

    def _outer_product(self, total: Op) -> tuple[Ref, Ref] | None:
        source = references(total)[0].op
        factors = references(self.trace.ops[source])
        if self.packet(source) is not _aten.mul or len(factors) != 2:
            return None
        product, sides = self.fact(Ref(source, 0)), [self.fact(r) for r in factors]
        if product is None or None in sides:
            return None
        larger = all(len(s.shape) > 2 and _numel(product) > _numel(s) for s in sides if s is not None)
        return (factors[0], factors[1]) if larger else None

    def is_weight(self, index: int) -> bool:
        """Whether the operator's result is a parameter, a buffer or a constant, or made of these without a product: a
        weight that is transposed, cast or normalised."""
        if index not in self._weights:
            op = self.trace.ops[index]
            if op.kind != "call":
                self._weights[index] = op.kind != "input"
            else:
                sources = references(op)
                known = bool(sources) and self.packet(index) not in MATMULS
                self._weights[index] = known and all(self.is_weight(source.op) for source in sources)
        return self._weights[index]

    @cached_property
    def _weights(self) -> dict[int, bool]:
        return {}


def _numel(fact: TensorFact) -> int:
    total = 1
    for size in fact.shape:
        total *= size
    return total
