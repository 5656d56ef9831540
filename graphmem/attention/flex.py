"""`torch.nn.attention.flex_attention`: q, k, v, output, logsumexp, and the block mask's tables."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from graphmem.attention.example import Examples, S
from graphmem.attention.fused import Fused, find_operators
from graphmem.attention.site import LSE, MAX_SCORES, OUTPUT, Site
from graphmem.record.flow import Flow

_TABLE = {"graphmem.flex_attention": Fused("flex", {0: OUTPUT, 1: LSE, 2: MAX_SCORES}, "flex_attention")}

_COMPILED = "flex_attention under torch.compile"
_NOT_COMPILED = (
    "flex_attention without torch.compile: forward makes the scores for a moment, and max_scores is kept as well"
)


def find(flow: Flow) -> list[Site]:
    """One site per call."""
    return [_explained(site, flow) for site in find_operators(flow, _TABLE)]


def _explained(site: Site, flow: Flow) -> Site:
    kept = [site.roles.get(s.index) for s in flow.trace.storages if any(keep.op in site.ops for keep in s.keeps)]
    return replace(site, why=_NOT_COMPILED if (MAX_SCORES,) in kept else _COMPILED)


# -- examples ----------------------------------------------------------------------------------------------------------


def _plain(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, k, v)


def _compiled(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)(q, k, v)


def _grouped_causal(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    mask = create_block_mask(lambda _b, _h, i, j: i >= j, None, None, S, S, device=q.device)
    return flex_attention(q, k[:, :2], v[:, :2], block_mask=mask, enable_gqa=True)


def _softcap(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, k, v, score_mod=lambda s, *_: 20 * torch.tanh(s / 20))


GOOD: Examples = {
    "plain": _plain,
    "compiled": _compiled,
    "grouped, causal": _grouped_causal,
    "softcap": _softcap,
}
BAD: Examples = {"written out": lambda q, k, v, w: (q @ k.mT).softmax(-1) @ v}
