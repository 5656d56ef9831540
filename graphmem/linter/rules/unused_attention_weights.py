"""Attention weights that are made to be returned, and that nobody uses.

**Why is this bad?**
To return the weights, attention has to be written out, and keeps s² terms. `nn.MultiheadAttention` does so unless
told otherwise.

**Example**

    out, _ = self.attention(x, x, x)

**Use instead**

    out, _ = self.attention(x, x, x, need_weights=False)

The saving is measured: the traced model is run again with the fused kernel in its place.

**Sources**
[torch.nn.MultiheadAttention](https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html): "Set
need_weights=False ... to get the best performance".
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from graphmem.attention import Site
from graphmem.attention.site import alike
from graphmem.linter.context import Context
from graphmem.linter.example import HEADS, Example, Examples, H, Layers
from graphmem.linter.fused import fusing, mask_is_causal
from graphmem.linter.spot import Spot

CODE, NAME, SEVERITY, DEFAULT = "GM109", "unused-attention-weights", "error", True

_aten = torch.ops.aten


def check(context: Context) -> Iterator[Spot]:
    """Every written-out attention whose probabilities also go elsewhere, where they have no effect."""
    for row, sites in context.attention:
        if row.kernel != "eager" or row.instead is None or not all(_unused(site, context) for site in sites):
            continue
        key = alike(sites[0], context.trace)
        change = fusing(key, context.machine, causal=mask_is_causal(key, context.derived))
        for site in sites:
            yield Spot(
                op=min(site.ops),
                storages=tuple(k.storage for k in site.kept(context.derived.kept)),
                message="attention is written out to return its weights, which nobody uses",
                fix="need_weights=False",
                change=change,
                module=site.module,
            )


def _unused(site: Site, context: Context) -> bool:
    """In nn.MultiheadAttention a mean over heads is made of the probabilities; whether nothing is made of that."""
    inner = [i for i in site.ops if context.packet(i) in (_aten._softmax, _aten._safe_softmax, _aten.native_dropout)]
    outside = {user for i in inner for user in context.users(i)} - site.ops
    ends = [_end(user, context) for user in outside]
    return bool(ends) and all(ends) and context.trace.calls[context.op(min(site.ops)).call].cls == "MultiheadAttention"


def _end(index: int, context: Context) -> bool:
    """Whether nothing uses a view or a mean, and nobody holds it."""
    while context.op(index).target.is_view or context.packet(index) is _aten.mean:
        held = context.trace.storages[context.storage(index)].held
        users = context.users(index)
        if held or len(users) != 1:
            return not held and not users
        index = users[0]
    return False


# -- examples ----------------------------------------------------------------------------------------------------------


class _Layer(nn.Module):
    def __init__(self, *, need_weights: bool, use: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(H, HEADS, batch_first=True)
        self.need_weights, self.use = need_weights, use

    def forward(self, x: Tensor) -> Tensor:
        out, weights = self.attention(x, x, x, need_weights=self.need_weights)
        return out * weights.sum() if self.use else out  # type: ignore[no-any-return]


BAD: Examples = {"need_weights": Example(lambda: Layers(lambda: _Layer(need_weights=True)))}
FIXED: Examples = {"need_weights": Example(lambda: Layers(lambda: _Layer(need_weights=False)))}
GOOD: Examples = {
    "without": FIXED["need_weights"],
    "used": Example(lambda: Layers(lambda: _Layer(need_weights=True, use=True))),
}
