"""A softmax over scores in float32, in 16-bit attention.

**Why is this bad?**
Softmax keeps its result for backward: 4 bytes for each of as²b instead of 2, and what is cast back to 16 bits for
the product with the values is kept as well: 6as²b.

**Example**

    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)

**Use instead**
A fused kernel, which computes in float32 and keeps neither (GM101 says which; where it reports, this rule does not).
If none fits, a softmax in 16 bits: CUDA's computes in float32 inside, and rounds only the result. If the scores
themselves are in float32, because q and k are cast before their product, this rule is silent.

    weights = F.softmax(scores, dim=-1)

**Sources**
[transformers#24519](https://github.com/huggingface/transformers/issues/24519),
[text-generation-webui#2987](https://github.com/oobabooga/text-generation-webui/issues/2987): 2 GB at 2,048 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention import Site
from graphmem.attention.site import alike
from graphmem.linter.context import Context
from graphmem.linter.example import Examples, attending
from graphmem.linter.fused import sites_like
from graphmem.linter.remeasure import swapping
from graphmem.linter.spot import Spot, Term
from graphmem.record import Ref, Trace, references
from graphmem.record.flow import Flow
from graphmem.trace.replay import Swap

CODE, NAME, SEVERITY, DEFAULT = "GM106", "float32-softmax", "warning", True
YIELDS_TO = ("GM101", "GM109")

_aten = torch.ops.aten
_HALF = (torch.bfloat16, torch.float16)


def check(context: Context) -> Iterator[Spot]:
    """Every softmax of a written-out attention whose float32 result is kept and then cast to 16 bits."""
    for _, sites in context.attention:
        key = alike(sites[0], context.trace)
        for site in (site for site in sites if site.kernel == "eager"):
            for index, cast in _softmaxes(site, context.flow):
                storage = context.storage(index)
                if storage not in context.kept:
                    continue
                direct = context.fact(context.takes(cast)[0]).storage == storage
                size = context.one(storage)
                whole = direct and context.storage(cast) in context.kept
                yield Spot(
                    op=index,
                    storages=(storage,),
                    message="the softmax's float32 result is kept in 16-bit attention",
                    fix="softmax in 16 bits: CUDA's computes in float32 and rounds only its result",
                    change=swapping(("half softmax", key), partial(_swaps, key)),
                    # The 16-bit softmax's result serves as the copy, where there is one.
                    saving=(Term(storage, size if whole else size / 2),),
                    module=site.module,
                )


def _swaps(key: tuple[object, ...], trace: Trace) -> list[Swap]:
    flow = Flow(trace)
    found = [pair for site in sites_like(key, trace) for pair in _softmaxes(site, flow)]
    return [_in_half(index, cast, flow) for index, cast in found]


def _in_half(index: int, cast: int, flow: Flow) -> Swap:
    """The softmax of the scores as they were before they were cast to float32."""
    op, half = flow.trace.ops[index], flow.trace.ops[cast].outputs[0]
    assert half is not None, "a cast returns a tensor"
    return Swap(Ref(index, 0), (_scores(index, flow),), lambda x: torch.softmax(x.to(half.dtype), op.args[1]))


def _softmaxes(site: Site, flow: Flow) -> Iterator[tuple[int, int]]:
    """Every softmax in float32, with the cast to 16 bits that follows."""
    casts = [
        i
        for i in sorted(site.ops)
        if flow.packet(i) is _aten._to_copy and _dtype(references(flow.trace.ops[i])[0], flow) == torch.float32
        and _dtype(Ref(i, 0), flow) in _HALF
    ]  # fmt: skip
    for index in sorted(site.ops):
        after = [i for i in casts if i > index]
        if flow.packet(index) is not _aten._softmax or _dtype(Ref(index, 0), flow) != torch.float32 or not after:
            continue
        if _dtype(_scores(index, flow), flow) in _HALF:  # scores in float32 are their author's choice
            yield index, after[0]


def _scores(index: int, flow: Flow) -> Ref:
    """What the softmax takes, before it was cast to float32."""
    (scores,) = references(flow.trace.ops[index])
    return references(flow.trace.ops[scores.op])[0] if flow.packet(scores.op) is _aten._to_copy else scores


def _dtype(ref: Ref, flow: Flow) -> torch.dtype | None:
    fact = flow.fact(ref)
    return fact.dtype if fact is not None else None


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
GOOD: Examples = {
    "in 16 bits": FIXED["softmax"],
    "fused": attending(F.scaled_dot_product_attention),
    "scores in float32": attending(lambda q, k, v: (q.float() @ k.float().mT / 4).softmax(-1).to(q.dtype) @ v),
}
