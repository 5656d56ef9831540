"""Log-probabilities of every token over the whole vocabulary, kept for the loss.

**Why is this bad?**
`cross_entropy` keeps its log-softmax for backward: v numbers for each token. With a vocabulary of 128,256 that is as
much as the hidden states of 60 layers of width 2,048. If 16-bit logits are cast to float32 before, it is 4sbv instead
of 2sbv.

**Example**

    logits = self.lm_head(hidden).float()
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())

**Use instead**
A loss that takes the hidden states in pieces and makes the logits again in backward: Liger's fused linear cross
entropy, cut-cross-entropy, or

    def piece(hidden, labels):
        return F.cross_entropy(self.lm_head(hidden).float(), labels, reduction="sum")
    loss = sum(checkpoint(piece, h, l, use_reentrant=False) for h, l in zip(hidden.split(1024), labels.split(1024)))

**Sources**
[transformers#30860](https://github.com/huggingface/transformers/issues/30860),
[pytorch#124480](https://github.com/pytorch/pytorch/issues/124480), [Liger](https://github.com/linkedin/Liger-Kernel),
[ms-swift#6966](https://github.com/modelscope/ms-swift/issues/6966).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H, ids
from graphmem.linter.remeasure import swapping
from graphmem.linter.spot import Spot, Term
from graphmem.record import Op, Place, Ref, Trace, references
from graphmem.record.flow import MATMULS, Flow
from graphmem.record.paths import folded
from graphmem.trace.replay import Swap, checkpointed

CODE, NAME, SEVERITY, DEFAULT = "GM201", "kept-logits", "warning", True

_aten = torch.ops.aten
_LOSSES = (_aten.nll_loss_forward, _aten.nll_loss2d_forward, _aten.gather)
_HALF = (torch.bfloat16, torch.float16)
LARGE = 1024  # classes; a classifier's few are not a vocabulary


def check(context: Context) -> Iterator[Spot]:
    """Every kept log-softmax between a linear layer of many columns and a loss."""
    for op in context.calls(_aten._log_softmax):
        fact, region = op.outputs[0], _region(op, context.flow)
        if fact is None or fact.storage not in context.kept or region is None:
            continue
        head, losses = min(region), _losses(op, context.flow)
        gone = tuple(
            s
            for s, kept in context.kept.items()
            if kept.op.index in region and context.only_within(s, region | _after(losses, context.flow))
        )
        if fact.storage not in gone:
            continue
        upcast = fact.dtype == torch.float32 and context.fact(context.takes(head)[-2]).dtype in _HALF
        yield Spot(
            op=op.index,
            storages=(fact.storage, *(s for s in gone if s != fact.storage)),
            message=f"the loss keeps {'float32 ' if upcast else ''}log-probabilities of every token over the vocabulary"
            + (", of 16-bit logits" if upcast else ""),
            fix="a fused or chunked linear cross entropy, which makes the logits again in backward",
            change=swapping(("made again", _key(op, context.trace)), partial(_swaps, _key(op, context.trace))),
            saving=tuple(Term(s, context.one(s)) for s in gone),
        )


def _key(op: Op, trace: Trace) -> tuple[str, Place | None]:
    return folded(trace.calls[op.call].path if op.call >= 0 else "", trace.containers)[0], op.place


def _swaps(key: object, trace: Trace) -> list[Swap]:
    """Head and loss in a checkpoint, wherever the line makes a log-softmax: in pieces, as much is kept."""
    flow = Flow(trace)
    ops = [op for op in trace.ops if flow.packet(op.index) is _aten._log_softmax and _key(op, trace) == key]
    regions = [region for op in ops if (region := _region(op, flow)) is not None]
    return [checkpointed(trace, region, Ref(max(region), 0)) for region in regions]


def _region(op: Op, flow: Flow) -> set[int] | None:
    """From the product that makes the logits to the loss; None if the log-softmax is not between two of these."""
    fact, losses = op.outputs[0], _losses(op, flow)
    head = _head(op, flow)
    if fact is None or max(fact.shape, default=0) < LARGE or not losses or head is None:
        return None
    return flow.between(range(head, max(losses) + 1), {head}, set(losses))


def _losses(op: Op, flow: Flow) -> list[int]:
    ahead = flow.reach(op.index, True, flow.elementwise)
    return [i for i in ahead if flow.packet(i) in _LOSSES]


def _after(losses: list[int], flow: Flow) -> set[int]:
    """What else belongs to the loss: its mean over tokens."""
    return {i for loss in losses for i in flow.reach(loss, True, lambda _: True)}


def _head(op: Op, flow: Flow) -> int | None:
    """The product with a weight that made the logits, if only casts, views and the like stand between."""
    behind = flow.reach(op.index, False, flow.elementwise)
    heads = [
        i
        for i in behind
        if flow.packet(i) in MATMULS and any(flow.is_weight(r.op) for r in references(flow.trace.ops[i]))
    ]
    return heads[0] if len(heads) == 1 else None


# -- examples ----------------------------------------------------------------------------------------------------------

_V = 2048


class _Model(nn.Module):
    def __init__(self, *, upcast: bool, again: bool = False, v: int = _V) -> None:
        super().__init__()
        self.tokens, self.body = nn.Embedding(v, H), nn.Linear(H, H)
        self.head, self.upcast, self.again = nn.Linear(H, v, bias=False), upcast, again

    def forward(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        hidden = self.body(self.tokens(ids)).flatten(0, 1)
        if self.again:
            return {"loss": checkpoint(self.loss, hidden, labels.flatten(), use_reentrant=False)}
        return {"loss": self.loss(hidden, labels.flatten())}

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        logits = self.head(hidden)
        return F.cross_entropy(logits.float() if self.upcast else logits, labels)


BAD: Examples = {
    "float32": Example(lambda: _Model(upcast=True), ids),
    "16 bits": Example(lambda: _Model(upcast=False), ids),
}
FIXED: Examples = {
    "float32": Example(lambda: _Model(upcast=True, again=True), ids),
    "16 bits": Example(lambda: _Model(upcast=False, again=True), ids),
}
GOOD: Examples = {"made again": FIXED["float32"], "few classes": Example(lambda: _Model(upcast=True, v=10), ids)}
