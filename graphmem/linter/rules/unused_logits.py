"""Logits of positions that no loss uses.

**Why is this bad?**
The head's product keeps its input for backward, 2sbh, and the loss v numbers for each token. Where only some positions
are picked afterwards, such as a sequence's last, or most labels say that the position does not count, that is kept for
nothing; and the logits themselves, though not kept, are the largest tensor while they live.

**Example**

    logits = self.score(hidden)          # of all positions
    picked = logits[rows, last]          # of which one counts
    loss = F.cross_entropy(picked, labels)

**Use instead**

    picked = self.score(hidden[rows, last])

    counts = labels != -100              # in masked language models, or behind a prompt
    loss = F.cross_entropy(self.head(hidden[counts]), labels[counts])

The rule needs the labels' values, as `inputs()` gives them. Without values it assumes that all labels count.

**Sources**
[transformers#3294](https://github.com/huggingface/transformers/issues/3294),
[pytext#957](https://github.com/facebookresearch/pytext/pull/957): "0.85 of" the logits of a masked language model,
[trl#2683](https://github.com/huggingface/trl/pull/2683): "Don't compute the logits of the prompt, to save memory".
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import sympy
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import B, Example, Examples, H, S, ids
from graphmem.linter.spot import Spot, Term
from graphmem.record import Op, Ref, UnknownValueError
from graphmem.record.flow import MATMULS

CODE, NAME, SEVERITY, DEFAULT = "GM202", "unused-logits", "warning", True

_aten = torch.ops.aten
_PICKS = (_aten.slice, _aten.select, _aten.index, _aten.index_select)
_MOVES = (_aten.clone, _aten._to_copy, _aten._unsafe_view)
_CLASSES = (_aten.nll_loss_forward, _aten.nll_loss2d_forward)
_LOSSES = (*_CLASSES, _aten.mse_loss, _aten.binary_cross_entropy_with_logits, _aten.smooth_l1_loss, _aten.huber_loss)
WORTH = 0.25  # of the positions; the last one, which has no next token, is not a mistake
LARGE = 1024  # classes


def check(context: Context) -> Iterator[Spot]:
    """Every head of which positions are picked afterwards, and every loss most of whose labels do not count."""
    for op in context.trace.ops:
        if op.kind == "call" and op.target.overloadpacket in MATMULS:
            yield from _picked(op, context)
        elif op.kind == "call" and op.target.overloadpacket in _CLASSES:
            yield from _left_out(op, context)


def _picked(head: Op, context: Context) -> Iterator[Spot]:
    hidden = [ref for ref in context.takes(head.index) if not context.flow.is_weight(ref.op)]
    picks = _picks(head.index, context)
    if len(hidden) != 1 or len(picks) != 1 or not _reaches_a_loss(picks[0], context):
        return
    storage, before, after = context.fact(hidden[0]).storage, context.fact(Ref(head.index, 0)), Ref(picks[0], 0)
    shape = context.fact(after).shape
    if before.shape[-1:] != shape[-1:] or math.prod(shape) > (1 - WORTH) * math.prod(before.shape):
        return
    if storage not in context.kept or not context.only_within(storage, {head.index}):
        return
    # One row of hidden states for each row of logits that is picked.
    rows = context.size(after) / (context.fact(after).dtype.itemsize * _last(after, context))
    used = rows * _last(hidden[0], context) * context.fact(hidden[0]).dtype.itemsize
    yield Spot(
        op=head.index,
        storages=(storage,),
        message="logits are made of all positions, and some of them picked afterwards",
        fix="pick the positions first, as a copy, and then the head: head(hidden[rows, last])",
        saving=(Term(storage, context.one(storage) - used),),
    )


def _picks(start: int, context: Context) -> list[int]:
    """What picks from an operator's result; empty if something takes the result as it is."""
    found, todo = [], [start]
    while todo:
        for user in context.users(todo.pop()):
            packet, made = context.packet(user), context.op(user).outputs[0]
            source = context.fact(context.takes(user)[0])
            if packet in _PICKS and made is not None and math.prod(made.shape) < math.prod(source.shape):
                found.append(user)
            elif packet in _MOVES or context.op(user).target.is_view:
                todo.append(user)
            else:
                return []
    return found


def _reaches_a_loss(pick: int, context: Context) -> bool:
    ahead = [pick, *context.flow.reach(pick, True, context.flow.elementwise)]
    return any(context.packet(i) in _LOSSES for i in ahead)


def _last(ref: Ref, context: Context) -> sympy.Expr:
    dims = context.derived.shape(ref)
    return dims[-1] if dims is not None else sympy.Integer(context.fact(ref).shape[-1])


def _left_out(loss: Op, context: Context) -> Iterator[Spot]:
    logits, labels, ignored = context.takes(loss.index)[0], context.takes(loss.index)[1], loss.args[4]
    fact = context.fact(logits)
    if fact.storage not in context.kept or max(fact.shape) < LARGE:
        return
    try:
        values = context.trace.value(labels)
    except (UnknownValueError, RuntimeError):
        return
    out, of = int((values == ignored).sum()), values.numel()
    if out < WORTH * of:
        return
    yield Spot(
        op=loss.index,
        storages=(fact.storage,),
        message=f"{out} of {of} labels are {ignored}, which do not count, and the loss keeps their log-probabilities",
        fix="leave these positions out before the head: head(hidden[labels != -100])",
        stake=(Term(fact.storage, context.one(fact.storage) * sympy.Rational(out, of)),),
    )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Classifier(nn.Module):
    """Of the last position."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.body, self.score, self.first = nn.Linear(H, H), nn.Linear(H, 10), first

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.body(x)
        rows, last = torch.arange(len(x), device=x.device), torch.full((len(x),), -1, device=x.device)
        picked = self.score(hidden[rows, last]) if self.first else self.score(hidden)[rows, last]
        return {"loss": F.cross_entropy(picked, torch.zeros_like(rows))}


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.body, self.head = nn.Embedding(2048, H), nn.Linear(H, H), nn.Linear(H, 2048)

    def forward(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.head(self.body(self.tokens(ids)))
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten())}


def _behind_a_prompt(prompt: int = S // 2) -> dict[str, Tensor]:
    labels = torch.zeros(B, S, dtype=torch.long)
    labels[:, :prompt] = -100
    return {"ids": torch.zeros_like(labels), "labels": labels}


BAD: Examples = {
    "last position": Example(lambda: _Classifier(first=False)),
    "behind a prompt": Example(_Model, _behind_a_prompt),
}
FIXED: Examples = {"last position": Example(lambda: _Classifier(first=True))}
GOOD: Examples = {
    "picked before": FIXED["last position"],
    "all labels count": Example(_Model, lambda: _behind_a_prompt(0)),
    "labels without values": Example(_Model, ids),
}
