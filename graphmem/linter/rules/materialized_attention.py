"""Attention that materialises its scores, though a fused kernel could run.

**Why is this bad?**
Scores and probabilities have s² elements per head. Written out, attention keeps the softmax's result for backward,
and often a copy in another type and a dropout mask: 2 to 7 bytes for each of as²b. A fused kernel keeps q, k, v, its
output and one number per row, and makes the rest again in backward.

**Example**

    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~causal, -math.inf)
    out = scores.softmax(-1) @ v

**Use instead**

    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)

In transformers: `attn_implementation="sdpa"`. The saving is measured: the traced model is run again on fake tensors
with the fused kernel in its place. If a mask depends on positions alone, it is assumed to be causal; if it is more,
pass it, or use flex_attention.

**Sources**
[transformers#30010](https://github.com/huggingface/transformers/issues/30010), [Korthikanti et
al.](https://arxiv.org/abs/2205.05198): 5as²b of a layer's 34sbh + 5as²b.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention.site import alike
from graphmem.linter.context import Context
from graphmem.linter.example import Attention, Example, Examples, Layers, attending
from graphmem.linter.fused import fusing, mask_is_causal
from graphmem.linter.spot import Spot

CODE, NAME, SEVERITY, DEFAULT = "GM101", "materialized-attention", "error", True
YIELDS_TO = ("GM109",)
_CAUSAL = "scaled_dot_product_attention with is_causal=True: the mask is only causal"
_SOFTCAP = ("tanh",)  # what flex_attention's score_mod is known for


def check(context: Context) -> Iterator[Spot]:
    """Every attention that is written out, where another kernel would keep less."""
    for row, sites in context.attention:
        if row.kernel != "eager" or row.instead is None:
            continue
        if any(site.operands.weights_used for site in sites if site.operands):
            continue  # a fused kernel has no weights to give
        if row.instead.kernel == "flex" and any(site.operands.special != _SOFTCAP for site in sites if site.operands):
            continue  # a score_mod that nobody has written yet does not help
        key = alike(sites[0], context.trace)
        causal = row.instead.kernel != "flex" and mask_is_causal(key, context.derived)
        change = fusing(key, context.machine, causal=causal)
        for site in sites:
            yield Spot(
                op=min(site.ops),
                storages=tuple(k.storage for k in site.kept(context.derived.kept)),
                message="attention is written out and keeps its scores for backward",
                fix=_CAUSAL if causal else f"{row.instead.how} ({row.instead.kernel})",
                change=change,
                module=site.module,
            )


# -- examples ----------------------------------------------------------------------------------------------------------


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def _masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    causal = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril()
    return F.dropout(_scores(q, k).masked_fill(~causal, -math.inf).softmax(-1), 0.1) @ v


def _upcast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _scores(q, k).softmax(-1, dtype=torch.float32).to(q.dtype) @ v


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class _Regularised(Attention):
    """What it returns depends on the weights themselves."""

    def __init__(self) -> None:
        super().__init__(self._attend)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = _scores(q, k).softmax(-1)
        return weights @ v + weights.square().mean()


BAD: Examples = {
    "written out": attending(lambda q, k, v: _scores(q, k).softmax(-1) @ v),
    "causal mask and dropout": attending(_masked),
    "float32 softmax": attending(_upcast),
}
FIXED: Examples = {
    "written out": attending(F.scaled_dot_product_attention),
    "causal mask and dropout": attending(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)),
    "float32 softmax": attending(F.scaled_dot_product_attention),
}
GOOD: Examples = {
    "fused": attending(_causal),
    "weights in a loss": Example(lambda: Layers(_Regularised)),
    "no attention": Example(lambda: torch.nn.Linear(64, 64)),
}
