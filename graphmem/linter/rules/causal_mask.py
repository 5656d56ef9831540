"""A full mask that is only causal, where `is_causal=True` says the same.

**Why is this bad?**
With a mask the flash kernel cannot run, and the mask's s² elements are kept for backward. If it is boolean, or its rows
are not aligned, every layer keeps a copy of its own. The flag costs nothing.

**Example**

    mask = torch.ones(s, s, dtype=torch.bool).tril()
    F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

**Use instead**

    F.scaled_dot_product_attention(q, k, v, is_causal=True)

graphmem computes the mask's values where they follow from positions and constants. A mask that depends on the input, or
that is causal and more, is not reported; nor is a sliding window that is longer than this input, because at longer ones
it is more. The saving is measured: the traced model is run again with the flag.

**Sources**
[ModernBERT#40](https://github.com/AnswerDotAI/ModernBERT/pull/40),
[transformers#30010](https://github.com/huggingface/transformers/issues/30010), `sdpa_attention.py` in transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention import Site
from graphmem.attention.call import recorded_call
from graphmem.attention.site import alike
from graphmem.kernels.sdpa import without_mask
from graphmem.linter.context import Context
from graphmem.linter.example import Attention, Example, Examples, Layers, S, attending
from graphmem.linter.fused import only_causal, sites_like, swap
from graphmem.linter.remeasure import swapping
from graphmem.linter.spot import Spot
from graphmem.machine import Machine
from graphmem.record import Ref, Trace
from graphmem.record.flow import Flow
from graphmem.trace.replay import Swap

CODE, NAME, SEVERITY, DEFAULT = "GM104", "causal-mask", "warning", True


def check(context: Context) -> Iterator[Spot]:
    """Every call with a mask whose value is known to be causal."""
    for _, sites in context.attention:
        if any(_mask(site, context.trace) is None for site in sites):
            continue
        key = alike(sites[0], context.trace)
        if not only_causal(key, context.derived, _mask):
            continue
        for site in sites:
            kept = site.kept(context.derived.kept)
            yield Spot(
                op=min(site.ops),
                storages=tuple(k.storage for k in kept if "mask" in site.part(k)) or tuple(k.storage for k in kept),
                message="attn_mask is causal and nothing else",
                fix="is_causal=True in its place",
                change=swapping(("causal", key), partial(_swaps, key, context.machine)),
                module=site.module,
            )


def _mask(site: Site, trace: Trace) -> Ref | None:
    call = trace.sdpa[site.call] if site.call >= 0 else None
    if call is None or call.facts is None or len(call.operands) != 4 or call.facts.q[-2] != call.facts.k[-2]:
        return None
    return call.operands[3]


def _swaps(key: tuple[object, ...], machine: Machine, trace: Trace) -> list[Swap]:
    flow = Flow(trace)
    calls = [(site, recorded_call(site, trace)) for site in sites_like(key, trace)]
    return [
        swap(site, flow, call, replace(without_mask(call.facts), causal=True), machine)
        for site, call in calls
        if call is not None
    ]


# -- examples ----------------------------------------------------------------------------------------------------------


class _Layer(Attention):
    def __init__(self) -> None:
        super().__init__(lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask))


def _allowed(x: Tensor) -> Tensor:
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()


def _numbers(x: Tensor) -> Tensor:
    full = torch.full((x.shape[1], x.shape[1]), torch.finfo(x.dtype).min, dtype=x.dtype, device=x.device)
    return full.triu(1)[None, None].expand(x.shape[0], 1, -1, -1)


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


BAD: Examples = {
    "boolean": Example(lambda: Layers(_Layer, lambda x: (_allowed(x),))),
    "numbers": Example(lambda: Layers(_Layer, lambda x: (_numbers(x),))),
}
FIXED: Examples = {"boolean": attending(_causal), "numbers": attending(_causal)}
GOOD: Examples = {
    "flag": attending(_causal),
    "sliding window": Example(lambda: Layers(_Layer, lambda x: (_allowed(x) & ~_allowed(x).tril(-8),))),
    "sliding window longer than the input": Example(
        lambda: Layers(_Layer, lambda x: (_allowed(x) & ~_allowed(x).tril(-S - 6),))
    ),
    "depends on the input": Example(lambda: Layers(_Layer, lambda x: (_allowed(x) & (x[0, :, 0] > 0),))),
}
