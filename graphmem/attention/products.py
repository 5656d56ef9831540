"""What the operators around two products of activations are to the attention that they make up."""

from __future__ import annotations

from collections.abc import Collection

import torch

from graphmem.attention.site import (
    DROPOUT_MASK,
    MASK,
    OUTPUT,
    PROBABILITIES,
    SCORES,
    K,
    Operands,
    Q,
    Roles,
    V,
)
from graphmem.record import Ref, TensorFact, references
from graphmem.record.flow import Flow

_aten = torch.ops.aten
_SOFTMAXES = {_aten._softmax, _aten._safe_softmax, _aten._log_softmax}
_MASKED = {_aten.masked_fill, _aten.masked_fill_, _aten.where}
# What stands between the products of an attention that scaled_dot_product_attention can do as well.
_PLAIN = {
    _aten.mul, _aten.mul_, _aten.div, _aten.div_, _aten.add, _aten.add_, _aten.sub, _aten.sub_, _aten.clone,
    _aten._to_copy, _aten._unsafe_view, _aten.native_dropout, _aten.amax, _aten.max, _aten.maximum, _aten.exp,
    _aten.sum, _aten._softmax, _aten._safe_softmax, _aten._log_softmax,
    _aten.copy_, _aten.detach, _aten.masked_fill, _aten.masked_fill_,
    _aten.where, _aten.scalar_tensor, _aten.eq, _aten.ne, _aten.nan_to_num, _aten.any, _aten.all, _aten.logical_not,
}  # fmt: skip


class Region:
    """The operators from the products that make scores to the products that use the probabilities.

    scores, outputs: those products. normaliser: the softmax, or what stands for it. ops: all of them.
    """

    def __init__(
        self, flow: Flow, scores: Collection[int], normaliser: int, outputs: Collection[int], ops: set[int]
    ) -> None:
        self.flow, self.scores, self.normaliser, self.outputs, self.ops = flow, scores, normaliser, outputs, ops
        self.before = flow.between(ops, set(scores), {normaliser}) - {normaliser}

    def roles(self) -> dict[int, tuple[str, ...]]:
        """Storage -> what it is."""
        flow, roles = self.flow, Roles(self.flow.trace)
        for product in self.scores:
            left, right = flow.factors(product) or (None, None)
            roles.add(Q, [left] if left else [])
            roles.add(K, [right] if right else [])
        for product in self.outputs:
            roles.add(V, [ref for ref in flow.factors(product) or () if ref.op not in self.ops])
            roles.add(OUTPUT, [Ref(product, 0)])
        for index in sorted(self.ops - set(self.outputs)):
            op = flow.trace.ops[index]
            made = [Ref(index, i) for i in range(len(op.outputs))]
            if index in self.before:
                roles.add(SCORES, made)
                roles.add(MASK, self._from_outside(index), unless=(Q, K, V, SCORES))
            else:
                bools = [r for r in made if (fact := flow.fact(r)) is not None and fact.dtype == torch.bool]
                roles.add(DROPOUT_MASK, bools)
                roles.add(PROBABILITIES, [r for r in made if r not in bools], unless=(SCORES,))
                roles.add(DROPOUT_MASK, self._from_outside(index), unless=(Q, K, V, SCORES, MASK, PROBABILITIES))
        return roles.done()

    def _from_outside(self, index: int) -> list[Ref]:
        if index in self.scores or index in self.outputs:
            return []
        return [ref for ref in references(self.flow.trace.ops[index]) if ref.op not in self.ops]

    def operands(self) -> Operands | None:
        """What a fused kernel would be given in their place; None where there is more than one product of a kind."""
        if len(self.scores) != 1 or len(self.outputs) != 1:
            return None
        (scores,), (output,) = self.scores, self.outputs
        left, right = self.flow.factors(scores) or (None, None)
        values = [ref for ref in self.flow.factors(output) or () if ref.op not in self.ops]
        if left is None or right is None or len(values) != 1:
            return None
        unfolded = [self._unfolded(ref) for ref in (left, right, values[0])]
        ranks = {len(fact.shape) for ref in unfolded if (fact := self.flow.fact(ref)) is not None}
        q, k, v = unfolded if len(ranks) == 1 else (left, right, values[0])  # all of them, or none
        inner = sorted(self.ops - {scores, output})
        special = tuple(dict.fromkeys(name for i in inner if (name := self._special(i))))
        if not self._is_softmax() or any(self._special(i) and not self._pointwise_before(i) for i in inner):
            return None  # no fused kernel does this
        masks = self._masks()
        dropout = [self.flow.trace.ops[i].args[1] for i in inner if self.flow.packet(i) is _aten.native_dropout]
        return Operands(
            q=q,
            k=k,
            v=v,
            masks=tuple(masks),
            learned=any(self.flow.trace.requires_grad(ref) for ref in masks),
            dropout=dropout[0] if dropout else 0.0,
            special=special,
            weights_used=any(self._leaves(i) for i in inner if i not in self.before),
        )

    def _is_softmax(self) -> bool:
        """A softmax over single scores, and not another function that was found in its place."""
        return any(self.flow.packet(i) in _SOFTMAXES for i in self.ops)

    def _pointwise_before(self, index: int) -> bool:
        return index in self.before and torch.Tag.pointwise in self.flow.trace.ops[index].target.tags

    def _leaves(self, index: int) -> bool:
        """Whether the weights are used elsewhere, too: they are returned, or in a loss."""
        outside = [user for user in self.flow.users(index) if user not in self.ops]
        reached = {index, *outside}.union(*(self.flow.reach(user, True, lambda _: True) for user in outside))
        return any(self._is_held(i) for i in reached)

    def _is_held(self, index: int) -> bool:
        trace = self.flow.trace
        return any(fact is not None and trace.storages[fact.storage].held for fact in trace.ops[index].outputs)

    def _unfolded(self, ref: Ref) -> Ref:
        """The tensor of four dimensions that was folded to three for the product; or the operand as it is."""
        seen = ref
        while (fact := self.flow.fact(seen)) is not None and len(fact.shape) != 4:
            op = self.flow.trace.ops[seen.op]
            sources = references(op)
            moves = op.kind == "call" and (
                op.target.is_view or self.flow.packet(seen.op) in (_aten.clone, _aten._unsafe_view)
            )
            if not moves or len(sources) != 1:
                return ref
            seen = sources[0]
        return seen if _unfolds(self.flow.fact(seen), self.flow.fact(ref)) else ref

    def _masks(self) -> list[Ref]:
        masks = []
        for index in sorted(self.before - set(self.scores)):
            packet, outside = self.flow.packet(index), self._from_outside(index)
            found = [ref for ref in outside if _is_mask(self.flow.fact(ref))]
            if found and (packet in _MASKED or packet in (_aten.add, _aten.add_)):
                masks.append(found[0])
        return masks

    def _special(self, index: int) -> str:
        op, packet = self.flow.trace.ops[index], self.flow.packet(index)
        if op.target.is_view or packet in _PLAIN:
            return ""
        return str(packet).removeprefix("aten.").lstrip("_")


def _unfolds(four: TensorFact | None, three: TensorFact | None) -> bool:
    """Whether four dimensions were folded to three by making one of the first two; they may be the same already."""
    if four is None or three is None or len(four.shape) != 4 or len(three.shape) != 3:
        return four == three
    return four.shape[0] * four.shape[1] == three.shape[0] and sorted(four.shape[2:]) == sorted(three.shape[1:])


def _is_mask(fact: TensorFact | None) -> bool:
    return fact is not None and len(fact.shape) >= 2 and fact.shape[-1] > 1
