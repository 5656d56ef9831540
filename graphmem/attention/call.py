"""Attention that materialises its scores, as the call of scaled_dot_product_attention that could stand there.

`fused_call` works it out, for the report's advice (instead.py) and for the linter, which traces the model again with
that call in place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from graphmem._torch import sdpa_priority_order
from graphmem.attention.site import Operands, Site
from graphmem.kernels.sdpa import four_dims
from graphmem.kernels.sdpa.order import disabled, order
from graphmem.machine import Machine
from graphmem.record import Ref, SdpaFacts, TensorFact, Trace, references
from graphmem.symbolic.derivation import Derivation

_aten = torch.ops.aten
_BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


@dataclass(frozen=True, kw_only=True)
class FusedCall:
    """scaled_dot_product_attention as it could be called: on which tensors, and what the choice of a kernel depends on.

    q, k, v: the tensors as the user has them, of any rank, the keys perhaps transposed. masks: attn_mask, or what adds
    up to it. causal: the mask that is_causal=True replaces, None if there is none.
    facts: the call at the traced point; of attention that is written out, with shapes of four dimensions.
    words: how to call it, for a report; "" for a call that the model makes already.
    """

    q: Ref
    k: Ref
    v: Ref
    masks: tuple[Ref, ...]
    facts: SdpaFacts
    causal: Ref | None = None
    words: str = ""


def fused_call(
    site: Site, trace: Trace, machine: Machine, derived: Derivation | None = None, *, causal: bool = False
) -> FusedCall | None:
    """The call in place of `site`; None where the scores get something that it has no argument for.

    Args:
        derived: given where the call has to hold at every length. Then a dimension of a mask counts as 1 only if it
            always is.
        causal: its mask is known to be causal, though it has one for each batch or head.
    """
    return recorded_call(site, trace) if site.call >= 0 else _written(site, trace, machine, derived, causal)


def recorded_call(site: Site, trace: Trace) -> FusedCall | None:
    """A call that the model makes; None where its choice or its tensors were not noted."""
    made = trace.sdpa[site.call]
    if made.facts is None or len(made.operands) != 4:
        return None
    q, k, v, mask = made.operands
    if q is None or k is None or v is None or (mask is None and made.facts.mask != "none"):
        return None
    return FusedCall(q=q, k=k, v=v, masks=(mask,) if mask is not None else (), facts=made.facts)


def _written(site: Site, trace: Trace, machine: Machine, derived: Derivation | None, known: bool) -> FusedCall | None:
    operands = site.operands
    if operands is None or operands.special:
        return None
    q, k, v = (_before_product(ref, trace) for ref in (operands.q, operands.k, operands.v))
    q, k = _unscaled(q, trace), _unscaled(k, trace)
    facts = [fact for ref in (q, k, v) if (fact := trace.fact(ref)) is not None]
    if len(facts) < 3:
        return None
    causal = _flagged(operands, trace, derived, known)
    masks = operands.masks if causal is None else ()
    added = [fact for ref in masks if (fact := trace.fact(ref)) is not None]
    q_shape, k_shape, v_shape = as_qkv(*(fact.shape for fact in facts))
    return FusedCall(
        q=q,
        k=k,
        v=v,
        masks=masks,
        causal=causal,
        words=_words(operands, causal),
        facts=SdpaFacts(
            q=q_shape,
            k=k_shape,
            v=v_shape,
            dtypes=(facts[0].dtype, facts[1].dtype, facts[2].dtype),
            mask=_mask_kind(added),
            mask_shape=broadcast([fact.shape for fact in added]),
            mask_requires_grad=operands.learned,
            mask_last_stride_1=is_laid_out(added),
            dropout=operands.dropout,
            order=order(machine, tuple(sdpa_priority_order())),
            disabled=disabled(),
        ),
    )


def _flagged(operands: Operands, trace: Trace, derived: Derivation | None, known: bool) -> Ref | None:
    """The mask that can be is_causal: a single one for all batches and heads, which depends on positions alone, or one
    that is `known` to be causal."""
    mask = operands.mask
    if mask is None:
        return None
    fact = trace.fact(mask)
    shape = (derived.shape(mask) if derived else None) or (fact.shape if fact else ())
    alone = fact is not None and all(d == 1 for d in shape[:-2])
    return mask if alone or known else None


def _words(operands: Operands, causal: Ref | None) -> str:
    call = "scaled_dot_product_attention"
    if causal is not None:
        call += " with is_causal=True, if the mask is only causal"
    elif operands.masks:
        what = "bias" if operands.learned else "masks added up" if len(operands.masks) > 1 else "mask"
        call += f", with the {what} as attn_mask"
    if operands.weights_used:
        call += ", without the attention weights that are used elsewhere"
    return call


def _before_product(ref: Ref, trace: Trace) -> Ref:
    """The tensor as the user has it: a product of four dimensions expands and copies its operands first."""
    line, moves = trace.ops[ref.op].place, (_aten.expand, _aten.clone, _aten.view, _aten._unsafe_view)
    while (op := trace.ops[ref.op]).kind == "call" and op.place == line and op.target.overloadpacket in moves:
        sources = references(op)
        if len(sources) != 1 or _shape(sources[0], trace) != _shape(ref, trace):
            break
        ref = sources[0]
    return ref


def _unscaled(ref: Ref, trace: Trace) -> Ref:
    """Before a product with a number, which is scaled_dot_product_attention's `scale`."""
    op = trace.ops[ref.op]
    scaled = op.kind == "call" and op.target.overloadpacket in (_aten.mul, _aten.div) and len(references(op)) == 1
    return references(op)[0] if scaled else ref


def _shape(ref: Ref, trace: Trace) -> tuple[int, ...]:
    fact = trace.fact(ref)
    return fact.shape if fact is not None else ()


# -- shapes, in numbers or in expressions ------------------------------------------------------------------------------


def as_qkv(q: Sequence[Any], k: Sequence[Any], v: Sequence[Any]) -> tuple[tuple[Any, ...], ...]:
    """The operands of two products as (b, heads, s, head size): what was folded into three dimensions stays folded."""
    return four_dims(q), four_dims((*k[:-2], k[-1], k[-2]) if is_transposed(k, q) else k), four_dims(v)


def is_transposed(k: Sequence[Any], q: Sequence[Any]) -> bool:
    """Whether the keys are (…, head size, s_k), as the product takes them."""
    return len(k) > 1 and bool(k[-1] != q[-1] and k[-2] == q[-1])


def broadcast(masks: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The four dimensions of masks that are added up; () for no masks."""
    return tuple(next((d for d in sizes if d != 1), 1) for sizes in zip(*map(four_dims, masks), strict=True))


# -- masks, and the call itself ----------------------------------------------------------------------------------------


def _mask_kind(masks: Sequence[TensorFact]) -> str:
    """ "none", "bool" or "float", of masks added up."""
    if not masks:
        return "none"
    return "bool" if all(fact.dtype == torch.bool for fact in masks) else "float"


def is_laid_out(masks: Sequence[TensorFact]) -> bool:
    """Whether attn_mask is contiguous in its last dimension; a sum is laid out as its parts are."""
    if not masks:
        return True
    made = (torch.empty_strided(m.shape, m.stride, dtype=m.dtype, device="meta") for m in masks)
    return functools.reduce(torch.add, made).stride(-1) == 1


def attend(
    facts: SdpaFacts, backend: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """The call that `facts` describe, by that backend and no other."""
    with sdpa_kernel([_BACKENDS[backend]]):
        return F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p=facts.dropout, is_causal=facts.causal, enable_gqa=facts.gqa
        )
