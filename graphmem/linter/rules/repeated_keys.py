"""Key and value heads that are repeated in memory for a kernel that takes them as they are.

**Why is this bad?**
With grouped queries k and v have few heads. If they are repeated to as many as q has, the copies are kept for backward:
4sbh instead of 4sbh · k/a.

**Example**

    k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
    F.scaled_dot_product_attention(q, k, v, is_causal=True)

**Use instead**

    F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

Only reported where a fused kernel takes the call with `enable_gqa`: with a mask, or in float32, it may be the math
path that does (GM102). The saving is measured: the traced model is run again with that call.

**Sources**
[transformers#39412](https://github.com/huggingface/transformers/pull/39412),
[nanochat#127](https://github.com/karpathy/nanochat/pull/127).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention import Site
from graphmem.attention.call import FusedCall, recorded_call
from graphmem.attention.site import alike
from graphmem.kernels.sdpa import choose
from graphmem.linter.context import Context
from graphmem.linter.example import Examples, attending
from graphmem.linter.fused import sites_like, swap
from graphmem.linter.remeasure import swapping
from graphmem.linter.spot import Spot
from graphmem.machine import Machine
from graphmem.record import Ref, Trace
from graphmem.record.flow import Flow
from graphmem.trace.replay import Swap

CODE, NAME, SEVERITY, DEFAULT = "GM108", "repeated-keys", "warning", True

_aten = torch.ops.aten
_FUSED = ("cudnn", "flash", "efficient")


def check(context: Context) -> Iterator[Spot]:
    """Every call whose keys and values are kept copies with repeated heads, if a fused kernel takes them without."""
    for row, sites in context.attention:
        if not row.kernel.startswith("sdpa.") or context.machine.device != "cuda":
            continue
        key = alike(sites[0], context.trace)
        for site in sites:
            call = _grouped(site, context.flow)
            old = recorded_call(site, context.trace)
            if call is None or old is None or choose(call.facts, context.machine)[0] not in _FUSED:
                continue
            copies = tuple(s for s in {context.fact(r).storage for r in (old.k, old.v)} if s in context.kept)
            if copies:
                yield Spot(
                    op=min(site.ops),
                    storages=copies,
                    message=f"{call.facts.k[1]} key and value heads are repeated to {old.facts.k[1]}, "
                    "and the copies are kept",
                    fix="pass them as they are, with enable_gqa=True",
                    change=swapping(("grouped", key), partial(_swaps, key, context.machine)),
                    module=site.module,
                )


def _swaps(key: tuple[object, ...], machine: Machine, trace: Trace) -> list[Swap]:
    flow = Flow(trace)
    calls = [(site, _grouped(site, flow)) for site in sites_like(key, trace)]
    return [swap(site, flow, call, call.facts, machine) for site, call in calls if call is not None]


def _grouped(site: Site, flow: Flow) -> FusedCall | None:
    """The call with the heads that were repeated."""
    call = recorded_call(site, flow.trace)
    if call is None or call.facts.gqa:
        return None
    k, v = (_unrepeated(ref, flow) for ref in (call.k, call.v))
    if k is None or v is None:
        return None
    shapes = [fact.shape for ref in (k, v) if (fact := flow.fact(ref)) is not None]
    if len(shapes) < 2 or shapes[0][1] != shapes[1][1]:
        return None
    return replace(call, k=k, v=v, facts=replace(call.facts, k=shapes[0], v=shapes[1], gqa=True))


def _unrepeated(ref: Ref, flow: Flow) -> Ref | None:
    """(b, fewer heads, s, head size) that was expanded to what stands here; None where it was not."""
    whole = flow.fact(ref)
    moved = (_aten.clone, _aten._unsafe_view)
    expanded = False
    while (op := flow.trace.ops[ref.op]).kind == "call" and (op.target.is_view or flow.packet(op.index) in moved):
        expanded |= flow.packet(op.index) is _aten.expand
        ref = op.args[0]
        fact = flow.fact(ref)
        if whole is None or fact is None:
            return None
        ends = (0, 2, 3)
        if expanded and len(fact.shape) == 4 and all(fact.shape[i] == whole.shape[i] for i in ends):
            return ref if fact.shape[1] < whole.shape[1] and whole.shape[1] % fact.shape[1] == 0 else None
    return None


# -- examples ----------------------------------------------------------------------------------------------------------


def _interleaved(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (t.repeat_interleave(2, dim=1) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _expanded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (t[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _grouped_call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def _masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """In float32 only the efficient kernel is left, which wants as many key heads as query heads."""
    mask = torch.zeros(64, 64, dtype=q.dtype, device=q.device)
    k, v = (t.repeat_interleave(2, dim=1) for t in (k, v))
    return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), mask.float()).to(q.dtype)


BAD: Examples = {"repeat_interleave": attending(_interleaved, keys=2), "expand": attending(_expanded, keys=2)}
FIXED: Examples = {"repeat_interleave": attending(_grouped_call, keys=2), "expand": attending(_grouped_call, keys=2)}
GOOD: Examples = {"enable_gqa": attending(_grouped_call, keys=2), "needed in float32": attending(_masked, keys=2)}
