"""What an attention that materialises its scores would keep with the best kernel that could be reached.

The answer is traced, not computed: the call that would stand there instead is run on fake tensors of the same shapes,
at the points that a formula is derived from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import nn

from graphmem.accounts.saved import INPUT, SAVED, sort_storages
from graphmem.attention.call import FusedCall, as_qkv, attend, broadcast, fused_call, is_laid_out
from graphmem.attention.site import STANDARD, Operands, Site
from graphmem.errors import GraphmemError
from graphmem.how import How
from graphmem.kernels.sdpa import four_dims, reachable
from graphmem.machine import Machine
from graphmem.memo import Memo
from graphmem.points import Point
from graphmem.record import Ref, SdpaFacts, Trace
from graphmem.record.paths import is_within
from graphmem.symbolic.curves import evaluate
from graphmem.symbolic.derivation import Derivation, Group
from graphmem.symbolic.derive import derive
from graphmem.symbolic.dims import Dims
from graphmem.symbolic.problem import Problem
from graphmem.trace import trace
from graphmem.usercode.isolate import isolated

_MASK = "3"  # the mask's place among the call's inputs


@dataclass(frozen=True)
class Instead:
    """The same attention by another kernel.

    kernel: its name. how: what to do. size: bytes that one keeps, q, k, v and output included, as an expression; a mask
    that all attentions share is not in it.
    """

    kernel: str
    how: str
    size: sympy.Expr


def instead_of(site: Site, derived: Derivation, machine: Machine) -> Instead | None:
    """The best kernel that could be reached in place of `site`; None where that is fused already, or where no other
    kernel is known."""
    if site.kind != STANDARD or machine.device != "cuda":
        return None
    try:
        if site.operands is not None and site.operands.special:
            return _by_flex(site.operands, derived, machine)
        call = fused_call(site, derived.trace, machine, derived)
        return None if call is None else _by_sdpa(site, call, derived, machine)
    except GraphmemError:
        # Another kernel is a suggestion. The call is ours, not the user's: if it does not run on shapes like these (a
        # head size that is not whole, say), there is nothing to suggest.
        return None


def _by_sdpa(site: Site, call: FusedCall, derived: Derivation, machine: Machine) -> Instead | None:
    way = reachable(call.facts, machine)
    shapes = _made_with(site, derived) if site.call >= 0 else _operands((call.q, call.k, call.v), derived)
    if way is None or shapes is None:
        return None
    changed = [_changed(dims, before, after) for dims, before, after in zip(
        shapes, (call.facts.q, call.facts.k, call.facts.v), (way.facts.q, way.facts.k, way.facts.v), strict=True
    )]  # fmt: skip
    mask = _mask(site, call, derived) if call.masks and way.facts.mask != "none" else None
    dtypes = (*way.facts.dtypes, torch.bool if way.facts.mask == "bool" else way.facts.dtypes[0])
    size = _kept(
        [*changed, *([mask.dims] if mask else [])], dtypes, mask, _Sdpa(way.backend, way.facts), derived, machine
    )
    how = "; ".join(filter(None, [call.words, *way.steps]))
    return None if size is None else Instead(f"sdpa.{way.backend}", how, size)


def _by_flex(operands: Operands, derived: Derivation, machine: Machine) -> Instead | None:
    shapes = _operands((operands.q, operands.k, operands.v), derived)
    fact = derived.trace.fact(operands.q)
    if shapes is None or fact is None:
        return None
    size = _kept(shapes, (fact.dtype,) * 3, None, _Flex(), derived, machine)
    how = f"torch.compile(flex_attention), with a score_mod for {', '.join(operands.special)}"
    return None if size is None else Instead("flex", how, size)


def _operands(refs: Sequence[Ref], derived: Derivation) -> list[Dims] | None:
    """q, k and v as expressions, of four dimensions; None where a dimension has none."""
    found = [dims for ref in refs if (dims := derived.shape(ref)) is not None]
    return [_expressions(dims) for dims in as_qkv(*found)] if len(found) == len(refs) else None


def _made_with(site: Site, derived: Derivation) -> list[Dims]:
    """The shapes of q, k and v in a call that the model makes, of as many dimensions as they have there."""
    _, shapes = derived.attentions[site.call]
    return list(shapes[:3])


@dataclass(frozen=True)
class _Mask:
    """What goes in as attn_mask: its four dimensions. own: every attention makes one for itself, so that it counts; one
    that all share is kept once, by whoever made it."""

    dims: Dims
    learned: bool
    own: bool


def _mask(site: Site, call: FusedCall, derived: Derivation) -> _Mask:
    trace, learned = derived.trace, call.facts.mask_requires_grad
    if site.call >= 0:
        _, shapes = derived.attentions[site.call]
        return _Mask(_expressions(four_dims(shapes[3])), learned, own=learned)
    facts = [fact for ref in call.masks if (fact := trace.fact(ref)) is not None]
    dims = broadcast([derived.shape(ref) or fact.shape for ref, fact in zip(call.masks, facts, strict=True)])
    ops = [trace.ops[ref.op] for ref in call.masks]
    inside = any(op.call >= 0 and is_within(trace.calls[op.call].path, site.module) for op in ops)
    return _Mask(_expressions(dims), learned, own=inside or len(ops) > 1 or not is_laid_out(facts))


def _kept(
    shapes: Sequence[Dims],
    dtypes: Sequence[torch.dtype],
    mask: _Mask | None,
    module: nn.Module,
    derived: Derivation,
    machine: Machine,
) -> sympy.Expr | None:
    """The bytes that `module` keeps of inputs of these shapes, as a proved expression; None where none was proved."""
    names = {str(x) for dims in shapes for d in dims for x in d.free_symbols}
    working = {n: v for n, v in derived.base.items() if n in names}
    known = Memo[Trace]()

    def run(point: Point) -> Trace:
        return trace(module, _blank(shapes, dtypes, mask, point), How(machine=machine), point=dict(point))

    def traced(point: Point) -> Trace:
        return known.at(point, lambda: run(point))

    model_symbols = derived.model_symbols & frozenset(working)
    problem = Problem(tracer=traced, account=sort_storages, working=working, model_symbols=model_symbols)
    with isolated():  # a report asks for this when its rows are made, which may be long after the analysis
        found = derive(problem, {})
    if found is None or not found.exact:
        return None
    own_mask = mask is not None and mask.own
    return sympy.expand(sympy.Add(*(g.size * g.count.expr for g in found.groups if _is_kept(g, own_mask))))


def _blank(
    shapes: Sequence[Dims], dtypes: Sequence[torch.dtype], mask: _Mask | None, point: Point
) -> tuple[torch.Tensor, ...]:
    """q, k, v and the mask at a point, on meta."""
    learned = mask is not None and mask.learned
    return tuple(
        torch.empty(_sizes(dims, point), dtype=dtype, device="meta", requires_grad=i < 3 or learned)
        for i, (dims, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    )


def _is_kept(group: Group, own_mask: bool) -> bool:
    """Whether it counts: all that is saved, and of the call's inputs all but a mask that others made."""
    if group.key.table == INPUT:
        return own_mask or bool(group.members[0].op.target != _MASK)
    return group.key.table == SAVED


class _Sdpa(nn.Module):
    def __init__(self, backend: str, facts: SdpaFacts) -> None:
        super().__init__()
        self.backend, self.facts = backend, facts

    def forward(self, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return attend(self.facts, self.backend, q, k, v, mask)


class _Flex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from torch.nn.attention.flex_attention import flex_attention  # slow to import, and seldom needed

        # Wrapped before the trace: a trace replaces what torch.compile wraps only if its package was imported before.
        self.attend = torch.compile(flex_attention)

    def forward(self, q: Any, k: Any, v: Any) -> Any:
        return self.attend(q, k, v, enable_gqa=q.shape[1] != k.shape[1])


def _sizes(dims: Dims, point: Point) -> tuple[int, ...]:
    values = [evaluate(d, point) for d in dims]
    sizes = tuple(v for v in values if v is not None and v >= 0)
    if len(sizes) < len(values):
        raise GraphmemError(f"shape {dims} is not made of sizes at {point}")
    return sizes


def _expressions(dims: Sequence[Any]) -> Dims:
    return tuple(map(sympy.sympify, dims))


def _changed(dims: Dims, before: Sequence[int], after: Sequence[int]) -> Dims:
    """`dims` with what a way to a kernel changed at the base point: padded head sizes, repeated heads."""
    if len(before) != len(after):
        dims, before = _expressions(four_dims(dims)), four_dims(before)
    return tuple(
        d if old == new else d * sympy.Rational(new, old) for d, old, new in zip(dims, before, after, strict=True)
    )
