"""Attention written out: a product of activations, a softmax or what stands for it, another product of activations.

    q kᵀ  ->  scale, mask, bias, cast, cap ...  ->  softmax  ->  dropout, cast ...  ->  times v

Between the products there may be any number of operators that work element by element or move elements. A product with
a weight is a linear layer: a softmax over classes or over experts is not attention. Without anything that is not linear
between the products it is linear attention, or a chunk of a state-space layer, and not of this kind either.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention.example import Examples
from graphmem.attention.products import Region
from graphmem.attention.site import STANDARD, Site
from graphmem.record.flow import Flow

_aten = torch.ops.aten

# What makes weights of scores, the likeliest first: a region is found once, by the first that it has.
_NORMALISERS = (
    {_aten._softmax, _aten._safe_softmax},
    {_aten.exp, _aten.exp2, _aten.exp_},
    {_aten.sigmoid, _aten.relu, _aten.acos, _aten.sigmoid_, _aten.relu_},
)


def find(flow: Flow) -> list[Site]:
    """One site for every softmax, or what stands for it, between two products of activations."""
    found: list[Site] = []
    for packets in _NORMALISERS:
        taken = {op for site in found for op in site.ops}
        for op in flow.trace.ops:
            if flow.packet(op.index) in packets and op.index not in taken:
                region = _around(flow, op.index)
                if region is not None:
                    found.append(_site(region))
                    taken |= region.ops
    return found


def _around(flow: Flow, normaliser: int) -> Region | None:
    fact = flow.trace.ops[normaliser].outputs[0]
    if fact is None or len(fact.shape) < 3:
        return None
    behind = set(flow.reach(normaliser, False, flow.elementwise))
    scores = {i for i in behind if flow.factors(i)}
    if not scores:
        return None

    def passes(index: int) -> bool:
        return flow.elementwise(index) or _normalises(flow, index)

    ahead = set(flow.reach(normaliser, True, passes))
    outputs = {i for i in ahead if flow.factors(i)}
    if flow.packet(normaliser) not in _NORMALISERS[0]:
        # Weaker evidence than a softmax: what follows must sum the weights over the keys, and not over heads.
        keys = {size for i in scores if (size := flow.columns(i))}
        outputs = {i for i in outputs if _weighs(flow, i, ahead) and flow.contracted(i) in keys}
    # Also what goes from the scores to the output beside the normaliser: the largest score that is taken off, say.
    beside = {i for s in scores for i in flow.reach(s, True, passes)}
    inner = {i for i in behind | ahead | beside | {normaliser} if passes(i)}
    # Only the operators on a way from the scores to the output belong to it, and no masks' history.
    ops = flow.between(inner, scores, outputs)
    if not outputs or normaliser not in ops:
        return None
    return Region(flow, scores & ops, normaliser, outputs & ops, ops)


def _weighs(flow: Flow, product: int, ahead: set[int]) -> bool:
    """Whether the weights are the left operand."""
    left, _ = flow.factors(product) or (None, None)
    return left is not None and left.op in ahead


def _normalises(flow: Flow, index: int) -> bool:
    """A sum over the keys, by which the weights are divided: it keeps its dimension."""
    op = flow.trace.ops[index]
    return flow.packet(index) is _aten.sum and flow.factors(index) is None and True in op.args[2:3]


def _site(region: Region) -> Site:
    flow, op = region.flow, region.flow.trace.ops[region.normaliser]
    name = str(flow.packet(region.normaliser)).removeprefix("aten.").strip("_").removeprefix("safe_")
    operands = region.operands()
    masks = operands.masks if operands else ()
    ends = [*region.scores, region.normaliser, *region.outputs]
    return Site(
        module=flow.trace.common_module(flow.trace.ops[i].call for i in ends),
        kind=STANDARD,
        kernel="eager",
        why=f"written out: {'a' if name[0] not in 'aeiou' else 'an'} {name} between two products of activations",
        place=op.place,
        ops=frozenset(region.ops),
        roles=region.roles(),
        operands=operands,
        variant=tuple(len(fact.shape) for ref in masks if (fact := flow.fact(ref)) is not None),
    )


# -- examples ----------------------------------------------------------------------------------------------------------


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def _causal(q: Tensor) -> Tensor:
    return torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=q.device).tril()


def _alibi(q: Tensor) -> Tensor:
    distance = torch.arange(q.shape[-2], device=q.device)
    return -(distance[:, None] - distance).abs() * torch.arange(1, q.shape[1] + 1, device=q.device)[:, None, None] / 8.0


def _sinks(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
    sink = w[0, : q.shape[1]].view(1, -1, 1, 1).expand(q.shape[0], -1, q.shape[2], 1)
    return torch.cat([_scores(q, k), sink], -1).softmax(-1)[..., :-1] @ v


def _chunked(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    return torch.cat([_scores(part, k).softmax(-1) @ v for part in q.split(8, dim=2)], dim=2)


def _windows(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    q, k, v = (t.unflatten(2, (-1, 8)) for t in (q, k, v))
    return (_scores(q, k).softmax(-1) @ v).flatten(2, 3)


def _channels(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    q, k, v = (F.normalize(t.transpose(-2, -1), dim=-1) for t in (q, k, v))
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


def _grouped_by_einsum(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    q, k, v = q.unflatten(1, (2, 2)), k[:, :2], v[:, :2]
    return torch.einsum("bkgst,bktd->bkgsd", torch.einsum("bkgsd,bktd->bkgst", q, k).softmax(-1), v)


def _latent(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """Multi-head latent attention: keys and values out of one small projection, and a rotary part that heads share."""
    latent = k.transpose(1, 2).flatten(2) @ w[:, :8]
    keys, values = (latent @ w[:8]).view(*q.shape[:1], q.shape[2], 4, 16).transpose(1, 2), v
    rotary = q[..., :4] @ k[:, :1, :, :4].transpose(-2, -1)
    return ((_scores(q, keys) + rotary) / 2).softmax(-1) @ values


def _online(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    """As flash kernels are explained: the division comes after the product with the values."""
    scores = _scores(q, k)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights @ v / weights.sum(-1, keepdim=True)


def _router(q: Tensor, _k: Tensor, _v: Tensor, w: Tensor) -> Tensor:
    tokens = q.transpose(1, 2).flatten(2)
    weights = (tokens @ w[:, :4]).softmax(-1)
    experts = torch.stack([tokens @ w * i for i in range(4)], dim=-2)
    return torch.einsum("bse,bseh->bsh", weights, experts)


def _state_space_chunk(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """As in Mamba 2 or retention: the scores are multiplied with decays, and nothing else is done to them."""
    decay = (q.transpose(1, 2).flatten(2) @ w[:, :4]).cumsum(1).transpose(1, 2)
    return (q @ k.transpose(-2, -1) * (decay[..., :, None] - decay[..., None, :]).exp() * _causal(q)) @ v


GOOD: Examples = {
    "matmul, scale after": lambda q, k, v, w: _scores(q, k).softmax(-1) @ v,
    "scale before": lambda q, k, v, w: ((q / 4) @ k.transpose(-2, -1)).softmax(-1) @ v,
    "einsum": lambda q, k, v, w: torch.einsum("bhst,bhtd->bhsd", torch.einsum("bhsd,bhtd->bhst", q, k).softmax(-1), v),
    "bmm": lambda q, k, v, w: torch.bmm(torch.bmm(q.flatten(0, 1), k.flatten(0, 1).mT).softmax(-1), v.flatten(0, 1)),
    "baddbmm": lambda q, k, v, w: torch.bmm(
        torch.baddbmm(_alibi(q).repeat(2, 1, 1).to(q), q.flatten(0, 1), k.flatten(0, 1).mT).softmax(-1), v.flatten(0, 1)
    ),
    "outer product": lambda q, k, v, w: (
        (q[..., :, None, :] * k[..., None, :, :]).sum(-1).softmax(-1)[..., None] * v[..., None, :, :]
    ).sum(-2),
    "additive mask": lambda q, k, v, w: (_scores(q, k) + _causal(q).logical_not() * -1e9).softmax(-1) @ v,
    "masked_fill": lambda q, k, v, w: _scores(q, k).masked_fill(~_causal(q), -math.inf).softmax(-1) @ v,
    "masked in place": lambda q, k, v, w: _scores(q, k).masked_fill_(~_causal(q), -math.inf).softmax(-1) @ v,
    "sliding window": lambda q, k, v, w: (
        _scores(q, k).masked_fill(~_causal(q) | _causal(q).tril(-8), -math.inf).softmax(-1) @ v
    ),
    "alibi": lambda q, k, v, w: (_scores(q, k) + _alibi(q)).softmax(-1) @ v,
    "t5 bias": lambda q, k, v, w: (_scores(q, k) + w[:24, :24].expand(4, 24, 24)).softmax(-1) @ v,
    "softcap": lambda q, k, v, w: ((_scores(q, k) / 30).tanh() * 30).softmax(-1) @ v,
    "float32 softmax": lambda q, k, v, w: _scores(q, k).softmax(-1, dtype=torch.float32).to(q.dtype) @ v,
    "dropout": lambda q, k, v, w: F.dropout(_scores(q, k).softmax(-1), 0.1) @ v,
    "sinks": _sinks,
    "grouped by repeat": lambda q, k, v, w: (
        _scores(q, k[:, :2].repeat_interleave(2, 1)).softmax(-1) @ v[:, :2].repeat_interleave(2, 1)
    ),
    "grouped by einsum": _grouped_by_einsum,
    "latent": _latent,
    "cross": lambda q, k, v, w: _scores(q[:, :, :7], k).softmax(-1) @ v,
    "chunked": _chunked,
    "over windows": _windows,
    "over channels": _channels,
    "learned queries": lambda q, k, v, w: _scores((w @ w)[:8, :16].expand(2, 4, 8, 16), k).softmax(-1) @ v,
    "softmax by hand": lambda q, k, v, w: (e := _scores(q, k).exp()) / e.sum(-1, keepdim=True) @ v,
    "online softmax": _online,
    "log softmax": lambda q, k, v, w: _scores(q, k).log_softmax(-1).exp() @ v,
    "sigmoid": lambda q, k, v, w: (_scores(q, k) - math.log(24)).sigmoid() @ v,
    "squared relu": lambda q, k, v, w: _scores(q, k).relu().square() @ v,
}

BAD: Examples = {
    "router": _router,
    "router, normalised weight": lambda q, k, v, w: _router(q, k, v, F.normalize(w, dim=0)),
    "softmax over classes": lambda q, k, v, w: (q @ w[:16]).softmax(-1) @ w,
    "linear attention": lambda q, k, v, w: (F.elu(q) + 1) @ ((F.elu(k) + 1).transpose(-2, -1) @ v),
    "linear attention, softmax features": lambda q, k, v, w: q.softmax(-1) @ (k.softmax(-2).transpose(-2, -1) @ v),
    "random features": lambda q, k, v, w: (q @ w[:16]).exp() @ ((k @ w[:16]).exp().transpose(-2, -1) @ v),
    "state-space chunk": _state_space_chunk,
    "contrastive loss": lambda q, k, v, w: (q[:, 0] @ k[:, 0].mT).log_softmax(-1).diagonal(0, -2, -1).mean(),
    "indexer": lambda q, k, v, w: (
        (q.transpose(1, 2) @ w[:16, :4]).softmax(-1).mT @ (q.transpose(1, 2) @ k[:, :1].mT).relu()
    ),
    "gate": lambda q, k, v, w: (q @ w[:16, :16]).sigmoid() * v,
}
