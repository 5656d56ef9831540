"""`F.scaled_dot_product_attention`, with the backend that the target runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention.example import Examples
from graphmem.attention.fused import Fused, fused_roles
from graphmem.attention.products import Region
from graphmem.attention.site import FLASH, STANDARD, Site
from graphmem.record import Op, SdpaCall
from graphmem.record.flow import Flow

_aten = torch.ops.aten

# Outputs as torch/_meta_registrations.py names them.
_OPS = {
    _aten._scaled_dot_product_flash_attention: Fused("sdpa.flash", {0: "output", 1: "lse", 6: "rng", 7: "rng"}),
    _aten._scaled_dot_product_cudnn_attention: Fused("sdpa.cudnn", {0: "output", 1: "lse", 6: "rng", 7: "rng"}),
    _aten._scaled_dot_product_efficient_attention: Fused("sdpa.efficient", {0: "output", 1: "lse", 2: "rng", 3: "rng"}),
    _aten._scaled_dot_product_flash_attention_for_cpu: Fused("sdpa.flash_for_cpu", {0: "output", 1: "lse"}),
}
_SOFTMAXES = (_aten._softmax, _aten._safe_softmax)


def find(flow: Flow) -> list[Site]:
    """One site per call."""
    return [
        _site(flow, range(call.start, call.stop), call.backend, _why(call), i)
        for i, call in enumerate(flow.trace.sdpa)
        if call.stop > call.start
    ]


def _why(call: SdpaCall) -> str:
    backend, refused = call.backend, call.refused
    if call.facts is None:
        return "torch's own choice on the CPU"
    if not refused:
        return f"{backend} comes first on this GPU" if call.facts.usual_order else f"{backend} comes first in its order"
    return "; ".join(f"not {name}: {reason}" for name, reason in refused)


def _site(flow: Flow, ops: range, backend: str, why: str, call: int = -1) -> Site:
    first = flow.trace.ops[ops.start]
    return Site(
        module=flow.trace.calls[first.call].path if first.call >= 0 else "",
        kind=STANDARD if backend == "math" else FLASH,
        kernel=f"sdpa.{backend}",
        why=why,
        place=first.place,
        ops=frozenset(ops),
        roles=_math_roles(flow, ops) if backend == "math" else _fused_roles(flow, ops),
        call=call,
    )


def _fused_roles(flow: Flow, ops: range) -> dict[int, tuple[str, ...]]:
    kernel: Op = next(flow.trace.ops[i] for i in ops if flow.packet(i) in _OPS)
    return fused_roles(flow, kernel, _OPS[flow.packet(kernel.index)])


def _math_roles(flow: Flow, ops: range) -> dict[int, tuple[str, ...]]:
    """The math path decomposes into the same products and softmax as attention that is written out."""
    softmax = next(i for i in ops if flow.packet(i) in _SOFTMAXES)
    products = [i for i in ops if flow.factors(i)]
    scores, outputs = [i for i in products if i < softmax], [i for i in products if i > softmax]
    inner = flow.between(ops, set(scores), set(outputs))
    return Region(flow, scores, softmax, outputs, inner).roles()


# -- examples ----------------------------------------------------------------------------------------------------------


def _multi_head(q: Tensor, _k: Tensor, _v: Tensor, w: Tensor) -> Tensor:
    x = q.transpose(1, 2).flatten(2)
    bias = w[:3].flatten()
    out, _ = F.multi_head_attention_forward(
        x, x, x, 64, 4, w.repeat(3, 1), bias, None, None, False, 0.0, w, w[0], need_weights=False
    )
    return out


GOOD: Examples = {
    "plain": lambda q, k, v, w: F.scaled_dot_product_attention(q, k, v),
    "bf16": lambda q, k, v, w: F.scaled_dot_product_attention(q.bfloat16(), k.bfloat16(), v.bfloat16()),
    "mask": lambda q, k, v, w: F.scaled_dot_product_attention(q, k, v, w[:24, :24]),
    "grouped, to math": lambda q, k, v, w: F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True),
    "multi_head_attention_forward": _multi_head,
}
BAD: Examples = {"written out": lambda q, k, v, w: (q @ k.mT).softmax(-1) @ v}
