"""A softmax over scores in float32, in an attention of 16 bits.

**Why is this bad?**
Softmax keeps its result for backward: 4 bytes for each of as²b in place of 2, and what is cast back to 16 bits for
the product with the values is kept as well: 6as²b.

**Example**

    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)

**Use instead**
A fused kernel, which computes in float32 and keeps neither (GM101 says which; where it speaks, this rule does not).
Where none fits, a softmax in 16 bits: CUDA's computes in float32 inside, and rounds only the result.

    weights = F.softmax(scores, dim=-1)

**Sources**
[transformers#24519](https://github.com/huggingface/transformers/issues/24519),
[text-generation-webui#2987](https://github.com/oobabooga/text-generation-webui/issues/2987): 2 GB at 2,048 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention import Site
from graphmem.lint.context import Context
from graphmem.lint.example import Examples, attending
from graphmem.lint.spot import Spot, Term

CODE, NAME, SEVERITY, DEFAULT = "GM106", "float32-softmax", "warning", True
YIELDS_TO = ("GM101", "GM109")

_aten = torch.ops.aten
_HALF = (torch.bfloat16, torch.float16)


def check(context: Context) -> Iterator[Spot]:
    """Every softmax of a written-out attention whose float32 result is kept and then cast to 16 bits."""
    for _, sites in context.attention:
        for site in sites:
            if site.kernel == "eager":
                yield from _softmaxes(site, context)


def _softmaxes(site: Site, context: Context) -> Iterator[Spot]:
    for index in sorted(site.ops):
        fact = context.op(index).outputs[0]
        if context.packet(index) is not _aten._softmax or fact is None or fact.dtype != torch.float32:
            continue
        copies = [i for i in _casts(site, context) if context.fact(context.takes(i)[0]).storage == fact.storage]
        if fact.storage not in context.kept or not _casts(site, context):
            continue
        whole = any(
            context.storage(i) in context.kept for i in copies
        )  # the 16-bit softmax's result serves as the copy
        size = context.one(fact.storage)
        yield Spot(
            op=index,
            storages=(fact.storage,),
            message="the softmax's float32 result is kept in an attention of 16 bits",
            fix="softmax in 16 bits: CUDA's computes in float32 and rounds only its result",
            saving=(Term(fact.storage, size if whole else size / 2),),
            module=site.module,
        )


def _casts(site: Site, context: Context) -> list[int]:
    return [
        i
        for i in sorted(site.ops)
        if context.packet(i) is _aten._to_copy and context.fact(context.takes(i)[0]).dtype == torch.float32
        and (made := context.op(i).outputs[0]) is not None and made.dtype in _HALF
    ]  # fmt: skip


# -- examples ----------------------------------------------------------------------------------------------------------


def _upcast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(q @ k.mT / 4, dim=-1, dtype=torch.float32).to(q.dtype) @ v


def _upcast_and_dropped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.dropout(F.softmax(q @ k.mT / 4, dim=-1, dtype=torch.float32).to(q.dtype), 0.1) @ v


BAD: Examples = {"softmax": attending(_upcast), "softmax and dropout": attending(_upcast_and_dropped)}
FIXED: Examples = {
    "softmax": attending(lambda q, k, v: (q @ k.mT / 4).softmax(-1) @ v),
    "softmax and dropout": attending(lambda q, k, v: F.dropout((q @ k.mT / 4).softmax(-1), 0.1) @ v),
}
GOOD: Examples = {"in 16 bits": FIXED["softmax"], "fused": attending(F.scaled_dot_product_attention)}
