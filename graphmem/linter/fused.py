"""A fused kernel in the place of an attention that materialises its scores, as a swap of operators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from graphmem.attention import Operands, Site, find_attention
from graphmem.attention.call import BACKENDS, facts_of_call
from graphmem.attention.site import alike
from graphmem.kernels.sdpa import choose, reachable
from graphmem.linter.masks import is_causal
from graphmem.machine import Machine
from graphmem.record import Ref, SdpaFacts, Trace
from graphmem.record.flow import Flow, references
from graphmem.trace.replay import Swap

_aten = torch.ops.aten

# The facts of a call without its mask.
NO_MASK: dict[str, Any] = {
    "mask": "none", "mask_shape": (), "mask_requires_grad": False, "mask_broadcasts": True, "mask_last_stride_1": True
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """scaled_dot_product_attention as it could be called: on which tensors, and what the call hangs on.

    masks: attn_mask, or what makes it up.
    """

    q: Ref
    k: Ref
    v: Ref
    masks: tuple[Ref, ...]
    facts: SdpaFacts


def sites_like(key: tuple[Any, ...], trace: Trace) -> list[Site]:
    """The attentions of a trace that a report counts as one row."""
    return [site for site in find_attention(trace) if alike(site, trace) == key]


def all_fused(key: tuple[Any, ...], machine: Machine, trace: Trace) -> list[Swap]:
    """The best kernel for all attentions of a row.

    Raises:
        LookupError: there is none for one of them.
    """
    flow = Flow(trace)
    swaps = [fused(site, flow, machine) for site in sites_like(key, trace)]
    if not swaps or None in swaps:
        raise LookupError("no fused kernel takes the same operands")
    return [swap for swap in swaps if swap is not None]


def fused(site: Site, flow: Flow, machine: Machine) -> Swap | None:
    """The call of the best kernel that could be reached; None where there is none."""
    call = recorded(site, flow) if site.call >= 0 else written(site, flow, machine)
    way = reachable(call.facts, machine) if call is not None else None
    return None if call is None or way is None else swap(site, flow, call, way.facts, machine)


def swap(site: Site, flow: Flow, call: Call, facts: SdpaFacts, machine: Machine) -> Swap:
    """`site` as a call with other `facts`: padded heads, repeated or grouped keys, without its mask."""
    result = _result(site, flow)
    backend = choose(facts, machine)[0] or "math"
    masks = call.masks if facts.mask != "none" else ()
    shape = flow.fact(result)
    assert shape is not None, "attention returns a tensor"
    return Swap(result, (call.q, call.k, call.v, *masks), _call(facts, backend, shape.shape))


def recorded(site: Site, flow: Flow) -> Call | None:
    """The arguments of a call that was made."""
    made = flow.trace.sdpa[site.call]
    if made.facts is None or len(made.operands) != 4 or None in made.operands[:3]:
        return None
    q, k, v, mask = made.operands
    assert q is not None
    assert k is not None
    assert v is not None
    return Call(q, k, v, (mask,) if mask is not None else (), made.facts)


def written(site: Site, flow: Flow, machine: Machine) -> Call | None:
    """The call in place of attention that is written out; None where the scores get something that it has no argument
    for. A mask that hangs on positions alone becomes no mask: is_causal."""
    operands = site.operands
    if operands is None or operands.special:
        return None
    q, k, v = (_before_product(ref, flow) for ref in (operands.q, operands.k, operands.v))
    refs = [_unscaled(q, flow), _unscaled(k, flow), v]
    known = [flow.fact(ref) for ref in refs]
    facts = [fact for fact in known if fact is not None]
    if len(facts) < len(known):
        return None
    q_shape, k_shape, v_shape = (_four(f.shape) for f in facts)
    if k_shape[-1] != q_shape[-1] and k_shape[-2] == q_shape[-1]:
        k_shape = (*k_shape[:-2], k_shape[-1], k_shape[-2])
    masks = () if _says_causal(operands, flow) else operands.masks
    added = [fact for ref in masks if (fact := flow.fact(ref)) is not None]
    made = facts_of_call(
        (q_shape, k_shape, v_shape),
        (facts[0].dtype, facts[1].dtype, facts[2].dtype),
        added,
        tuple(torch.broadcast_shapes(*(fact.shape for fact in added))),
        learned=operands.learned and bool(added),
        dropout=operands.dropout,
        machine=machine,
    )
    return Call(refs[0], refs[1], refs[2], masks, made)


def _says_causal(operands: Operands, flow: Flow) -> bool:
    """Whether all that is done to the scores can be is_causal: one mask that hangs on positions alone, or is known."""
    if operands.learned or len(operands.masks) != 1:
        return False
    (mask,) = operands.masks
    fact = flow.fact(mask)
    alone = fact is not None and all(n == 1 for n in fact.shape[:-2])
    return alone or is_causal(mask, flow, either=True)


def _before_product(ref: Ref, flow: Flow) -> Ref:
    """The tensor as the user has it: a product of four dimensions expands and copies its operands first."""
    line = flow.trace.ops[ref.op].place
    while (op := flow.trace.ops[ref.op]).kind == "call" and op.place == line:
        sources = references(op)
        same = len(sources) == 1 and _shape(sources[0], flow) == _shape(ref, flow)
        if not same or flow.packet(ref.op) not in (_aten.expand, _aten.clone, _aten.view, _aten._unsafe_view):
            break
        ref = sources[0]
    return ref


def _unscaled(ref: Ref, flow: Flow) -> Ref:
    """Before a product with a number, which is scaled_dot_product_attention's `scale`."""
    op = flow.trace.ops[ref.op]
    scaled = flow.packet(ref.op) in (_aten.mul, _aten.div) and len(references(op)) == 1
    return references(op)[0] if scaled else ref


def _shape(ref: Ref, flow: Flow) -> tuple[int, ...]:
    fact = flow.fact(ref)
    return fact.shape if fact is not None else ()


def _result(site: Site, flow: Flow) -> Ref:
    """What the attention returns: of what is written out the last product, with its heads unfolded."""
    last = max(site.ops)
    if site.call < 0:
        last = max(i for i in site.ops if flow.factors(i))
        after = list(flow.graph.successors(last))
        while len(after) == 1 and _unfolds(after[0], flow):
            last, after = after[0], list(flow.graph.successors(after[0]))
    return Ref(last, 0)


def _unfolds(index: int, flow: Flow) -> bool:
    """A view by which (b · heads, s, head size) becomes (b, heads, s, head size)."""
    op = flow.trace.ops[index]
    fact, before = op.outputs[0], flow.trace.ops[op.args[0].op].outputs[0]
    moves = flow.packet(index) in (_aten.view, _aten._unsafe_view)
    return moves and fact is not None and before is not None and len(before.shape) == 3 and len(fact.shape) == 4


def _call(facts: SdpaFacts, backend: str, shape: Sequence[int]) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor, *masks: Tensor) -> Tensor:
        size = v.shape[-1]
        q, k, v = (t.reshape(_four(t.shape)) if t.dim() != 4 else t for t in (q, k, v))
        if tuple(k.shape[-2:]) != facts.k[-2:] and k.shape[-2] == q.shape[-1]:
            k = k.transpose(-2, -1)
        q, k, v = (
            _fitted(t, wanted, dtype) for t, wanted, dtype in zip((q, k, v), _shapes(facts), facts.dtypes, strict=True)
        )
        mask = _added_up(masks, q.dtype) if masks else None
        with sdpa_kernel([BACKENDS[backend]]):
            out = F.scaled_dot_product_attention(
                q, k, v, mask, dropout_p=facts.dropout, is_causal=facts.causal, enable_gqa=facts.gqa
            )
        out = out[..., :size] if out.shape[-1] != size else out
        return out if out.shape == torch.Size(shape) else out.reshape(tuple(shape))

    return attend


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


def _four(shape: Sequence[int]) -> tuple[int, ...]:
    """Four dimensions: what was folded into three for a product stays folded."""
    if len(shape) <= 4:
        return (1,) * (4 - len(shape)) + tuple(shape)
    return (int(torch.Size(shape[:-3]).numel()), *shape[-3:])


def at_other_facts(site: Site, flow: Flow, machine: Machine, **changed: Any) -> Swap | None:
    """A call that was made, made with other facts."""
    call = recorded(site, flow)
    return None if call is None else swap(site, flow, call, replace(call.facts, **changed), machine)
