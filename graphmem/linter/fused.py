"""A fused kernel in place of an attention that materialises its scores, as a swap of operators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention import Site, find_attention
from graphmem.attention.call import FusedCall, attend, fused_call, is_transposed
from graphmem.attention.masks import is_causal
from graphmem.attention.site import alike
from graphmem.kernels.sdpa import choose, four_dims, reachable
from graphmem.linter.remeasure import NoSwapError, swapping, traces_of
from graphmem.linter.spot import Change
from graphmem.machine import Machine
from graphmem.record import Ref, SdpaFacts, Trace
from graphmem.record.flow import Flow
from graphmem.symbolic.derivation import Derivation
from graphmem.trace.replay import Swap

_aten = torch.ops.aten


def sites_like(key: tuple[Any, ...], trace: Trace) -> list[Site]:
    """The attentions of a trace that a report counts as one row."""
    return [site for site in find_attention(trace) if alike(site, trace) == key]


def only_causal(
    key: tuple[Any, ...], derived: Derivation, mask_of: Callable[[Site, Trace], Ref | None], *, either: bool = False
) -> bool:
    """Whether the masks of a row are known to be causal at the traced point, and nothing else is known at another.

    One point is not enough: a sliding window is causal up to its length.
    """
    for i, trace in enumerate(traces_of(derived)):
        masks = dict.fromkeys(mask_of(site, trace) for site in sites_like(key, trace))
        known = [False if mask is None else is_causal(mask, trace, either=either) for mask in masks]
        if False in known or (i == 0 and not all(known)):
            return False
    return True


def mask_is_causal(key: tuple[Any, ...], derived: Derivation) -> bool:
    """Whether is_causal=True says what the mask of attention that is written out says."""
    return only_causal(key, derived, lambda site, _: site.operands.mask if site.operands else None, either=True)


def fusing(key: tuple[Any, ...], machine: Machine, *, causal: bool = False) -> Change:
    """The best kernel in place of all attentions of a row, whose masks may be known to be causal."""
    return swapping(("fused", key), partial(all_fused, key, machine, causal))


def all_fused(key: tuple[Any, ...], machine: Machine, causal: bool, trace: Trace) -> list[Swap]:
    """The best kernel for all attentions of a row, whose masks may be known to be causal.

    Raises:
        NoSwapError: there is none for one of them.
    """
    flow = Flow(trace)
    swaps = [fused(site, flow, machine, causal) for site in sites_like(key, trace)]
    if not swaps or None in swaps:
        raise NoSwapError("no fused kernel takes the same operands")
    return [swap for swap in swaps if swap is not None]


def fused(site: Site, flow: Flow, machine: Machine, causal: bool) -> Swap | None:
    """The call of the best kernel that could be reached; None where there is none."""
    call = fused_call(site, flow.trace, machine, causal=causal)
    way = reachable(call.facts, machine) if call is not None else None
    return None if call is None or way is None else swap(site, flow, call, way.facts, machine)


def swap(site: Site, flow: Flow, call: FusedCall, facts: SdpaFacts, machine: Machine) -> Swap:
    """`site` as a call with other `facts`: padded heads, repeated or grouped keys, without its mask."""
    result = _result(site, flow)
    backend = choose(facts, machine)[0] or "math"
    masks = call.masks if facts.mask != "none" else ()
    shape = flow.fact(result)
    assert shape is not None, "attention returns a tensor"
    return Swap(result, (call.q, call.k, call.v, *masks), _on_tensors(facts, backend, shape.shape))


def _result(site: Site, flow: Flow) -> Ref:
    """What the attention returns: if it is written out, the last product with its heads unfolded."""
    last = max(site.ops)
    if site.call < 0:
        last = max(i for i in site.ops if flow.factors(i))
        after = flow.users(last)
        while len(after) == 1 and _unfolds(after[0], flow):
            last, after = after[0], flow.users(after[0])
    return Ref(last, 0)


def _unfolds(index: int, flow: Flow) -> bool:
    """A view by which (b · heads, s, head size) becomes (b, heads, s, head size)."""
    op = flow.trace.ops[index]
    fact, before = op.outputs[0], flow.trace.ops[op.args[0].op].outputs[0]
    moves = flow.packet(index) in (_aten.view, _aten._unsafe_view)
    return moves and fact is not None and before is not None and len(before.shape) == 3 and len(fact.shape) == 4


def _on_tensors(facts: SdpaFacts, backend: str, shape: Sequence[int]) -> Callable[..., Tensor]:
    """The call on tensors as the model has them; its result is of `shape`."""

    def run(q: Tensor, k: Tensor, v: Tensor, *masks: Tensor) -> Tensor:
        size = v.shape[-1]
        q, k, v = (t.reshape(four_dims(t.shape)) if t.dim() != 4 else t for t in (q, k, v))
        if is_transposed(k.shape, q.shape):
            k = k.transpose(-2, -1)
        q, k, v = (
            _fitted(t, wanted, dtype) for t, wanted, dtype in zip((q, k, v), _shapes(facts), facts.dtypes, strict=True)
        )
        out = attend(facts, backend, q, k, v, _added_up(masks, q.dtype) if masks else None)
        out = out[..., :size] if out.shape[-1] != size else out
        return out if out.shape == torch.Size(shape) else out.reshape(tuple(shape))

    return run


def _added_up(masks: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    if len(masks) == 1 and masks[0].dtype == torch.bool:
        return masks[0] if masks[0].stride(-1) == 1 else masks[0].contiguous()
    mask = functools.reduce(torch.add, (m.to(dtype) for m in masks))
    return mask if mask.stride(-1) == 1 else mask.contiguous()


def _shapes(facts: SdpaFacts) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    return facts.q, facts.k, facts.v


def _fitted(tensor: Tensor, wanted: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Cast, with repeated heads and a padded head size."""
    tensor = tensor.to(dtype)
    if len(wanted) == 4 and tensor.shape[1] != wanted[1]:
        tensor = tensor.repeat_interleave(wanted[1] // tensor.shape[1], 1)
    return F.pad(tensor, [0, wanted[-1] - tensor.shape[-1]]) if tensor.shape[-1] < wanted[-1] else tensor
