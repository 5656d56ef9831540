"""A boolean mask that every layer turns into its own mask of numbers.

**Why is this bad?**
The efficient and the cuDNN kernel add a mask to the scores. Given a boolean one, each call of
`scaled_dot_product_attention` first makes a mask of numbers from it, 2 or 4 bytes for each element, and keeps that for
backward: one per layer, though all are the same.

**Example**

    mask = torch.ones(s, s, dtype=torch.bool).tril() & padding[:, None, None, :]
    for layer in layers:
        x = layer(x, mask)  # F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

**Use instead**

    bias = torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, -math.inf)  # once
    for layer in layers:
        x = layer(x, bias)

**Sources**
`convert_boolean_attn_mask` in torch's attention.cpp,
[transformers#30010](https://github.com/huggingface/transformers/issues/30010).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.linter.context import Context
from graphmem.linter.example import Attention, Example, Examples, Layers
from graphmem.linter.spot import Spot, Term

CODE, NAME, SEVERITY, DEFAULT = "GM103", "copied-mask", "warning", True
YIELDS_TO = ("GM104",)

_aten = torch.ops.aten


def check(context: Context) -> Iterator[Spot]:
    """Every mask that several calls made a kept copy of."""
    shared: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for call, facts in context.sdpa:
        mask = call.operands[3] if len(call.operands) == 4 else None
        if facts.mask != "bool" or mask is None:
            continue
        for op in context.calls(_aten.where):
            copy = context.storage(op.index)
            if call.start <= op.index < call.stop and copy in context.kept:
                shared[context.fact(mask).storage].append((op.index, copy))
    for copies in shared.values():
        if len(copies) < 2:
            continue
        once = Term(-1, -context.one(copies[0][1]))
        for i, (index, copy) in enumerate(copies):
            yield Spot(
                op=index,
                storages=(copy,),
                message="every call makes and keeps its own mask of numbers from one boolean mask",
                fix="make the mask of numbers once, in q's dtype, and pass that",
                saving=(Term(copy, context.one(copy)), *([once] if i == 0 else [])),
            )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Layer(Attention):
    def __init__(self) -> None:
        super().__init__(lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask))


def _window(x: Tensor) -> Tensor:
    allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
    return allowed.tril() & allowed.triu(-8)


def _numbers(x: Tensor) -> Tensor:
    allowed = _window(x)
    return torch.zeros(allowed.shape, dtype=x.dtype, device=x.device).masked_fill(~allowed, -math.inf)


BAD: Examples = {"sliding window": Example(lambda: Layers(_Layer, lambda x: (_window(x),)))}
FIXED: Examples = {"sliding window": Example(lambda: Layers(_Layer, lambda x: (_numbers(x),)))}
GOOD: Examples = {
    "numbers": FIXED["sliding window"],
    "no mask": Example(lambda: Layers(_Layer, lambda _x: (None,))),
}
