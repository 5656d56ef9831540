"""What an attention that materialises its scores would keep with the best kernel that could be reached.

The answer is traced, not computed: the call that would stand there instead is run on fake tensors of the same shapes,
at the points that derive a formula.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import sdpa_kernel

from graphmem.accounts.saved import INPUT, SAVED
from graphmem.attention.call import BACKENDS, facts_of_call, is_laid_out
from graphmem.attention.site import STANDARD, Operands, Site
from graphmem.errors import GraphmemError
from graphmem.how import How
from graphmem.kernels.sdpa import choose, reachable
from graphmem.machine import Machine
from graphmem.record import SdpaFacts, TensorFact, Trace
from graphmem.symbolic.curves import evaluate
from graphmem.symbolic.derive import derive
from graphmem.symbolic.derived import Derivation
from graphmem.symbolic.dims import Dims
from graphmem.trace import trace

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
    """The best kernel that could be reached in place of `site`; None where it is fused already, or none is known."""
    if site.kind != STANDARD or machine.device != "cuda":
        return None
    try:
        if site.call >= 0:
            call, shapes = derived.attentions[site.call]
            facts = call.facts
            assert facts is not None, "only on the CPU torch chooses by itself"
            own = _Mask(_four(shapes[3]), facts.mask_requires_grad, own=facts.mask_requires_grad)
            return _by_sdpa(facts, shapes[:3], own if shapes[3] else None, derived, machine, [])
        if site.operands is not None:
            return _in_place_of_products(site, site.operands, derived, machine)
    except GraphmemError:  # another kernel is a suggestion: one that cannot be traced is none
        return None
    return None


def _in_place_of_products(site: Site, operands: Operands, derived: Derivation, machine: Machine) -> Instead | None:
    shapes = [derived.shape(ref) for ref in (operands.q, operands.k, operands.v)]
    outputs = [derived.trace.fact(ref) for ref in (operands.q, operands.k, operands.v)]
    facts = [fact for fact in outputs if fact is not None]
    if any(s is None for s in shapes) or len(facts) < len(outputs):
        return None
    q, k, v = (s for s in shapes if s is not None)
    q, k, v = _four(q), _four(_as_keys(k, q)), _four(v)
    if operands.special:
        return _by_flex((q, k, v), facts[0].dtype, operands, derived, machine)
    call, mask = _mask(site, operands, derived)
    made = facts_of_call(
        [_sizes(dims, derived.base) for dims in (q, k, v)],
        (facts[0].dtype, facts[1].dtype, facts[2].dtype),
        mask.made_of if mask else (),
        _sizes(mask.dims, derived.base) if mask else (),
        learned=mask is not None and mask.learned,
        dropout=operands.dropout,
        machine=machine,
    )
    if operands.weights_used:
        call += ", without the attention weights that are used elsewhere"
    return _by_sdpa(made, (q, k, v), mask, derived, machine, [call])


@dataclass(frozen=True)
class _Mask:
    """What goes in as attn_mask: four dimensions; what it is made of. own: every attention makes one for itself, so
    that it counts; one that all share is kept once, by whoever made it."""

    dims: Dims
    learned: bool
    own: bool
    made_of: tuple[TensorFact, ...] = ()


def _mask(site: Site, operands: Operands, derived: Derivation) -> tuple[str, _Mask | None]:
    """How to call scaled_dot_product_attention with what is done to the scores: in words, and the mask."""
    call, trace = "scaled_dot_product_attention", derived.trace
    found = [(ref, fact) for ref in operands.masks if (fact := trace.fact(ref)) is not None]
    if not found:
        return call, None
    shapes = [_four(derived.shape(ref) or tuple(map(sympy.Integer, fact.shape))) for ref, fact in found]
    if len(found) == 1 and not operands.learned and all(d == 1 for d in shapes[0][:-2]):
        # One mask for all batches and heads hangs on positions alone.
        return f"{call} with is_causal=True, if the mask is only causal", None
    dims = tuple(next((d for d in several if d != 1), sympy.S.One) for several in zip(*shapes, strict=True))
    ops = [trace.ops[ref.op] for ref, _ in found]
    made_of = tuple(fact for _, fact in found)
    inside = any(op.call >= 0 and _is_inside(trace.calls[op.call].path, site.module) for op in ops)
    own = inside or len(found) > 1 or not is_laid_out(made_of)
    what = "bias" if operands.learned else "masks added up" if len(found) > 1 else "mask"
    return f"{call}, with the {what} as attn_mask", _Mask(dims, operands.learned, own, made_of)


def _is_inside(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")


def _by_sdpa(
    facts: SdpaFacts,
    shapes: Sequence[Dims],
    mask: _Mask | None,
    derived: Derivation,
    machine: Machine,
    steps: list[str],
) -> Instead | None:
    """`shapes` as expressions; `facts` at the base point."""
    way = reachable(facts, machine)
    if way is None:
        return None
    backend = choose(way.facts, machine)[0] or way.backend
    changed = [_changed(dims, before, after) for dims, before, after in zip(
        shapes, (facts.q, facts.k, facts.v), (way.facts.q, way.facts.k, way.facts.v), strict=True
    )]  # fmt: skip
    module = _Sdpa(backend, way.facts)
    given = mask if way.facts.mask != "none" else None
    dtypes = (*way.facts.dtypes, torch.bool if way.facts.mask == "bool" else way.facts.dtypes[0])
    size = _kept([*changed, *([given.dims] if given else [])], dtypes, given, module, derived, machine)
    return None if size is None else Instead(f"sdpa.{backend}", "; ".join([*steps, *way.steps]), size)


def _by_flex(
    shapes: Sequence[Dims], dtype: torch.dtype, operands: Operands, derived: Derivation, machine: Machine
) -> Instead | None:
    from torch.nn.attention import flex_attention  # noqa: F401  # slow to import, and seldom needed

    size = _kept(shapes, (dtype,) * 3, None, _Flex(), derived, machine)
    how = f"torch.compile(flex_attention), with a score_mod for {', '.join(operands.special)}"
    return None if size is None else Instead("flex", how, size)


def _kept(
    shapes: Sequence[Dims],
    dtypes: Sequence[torch.dtype],
    mask: _Mask | None,
    module: nn.Module,
    derived: Derivation,
    machine: Machine,
) -> sympy.Expr | None:
    """What `module` keeps of inputs of these shapes, as a proved expression; None where there is none."""
    names = {str(x) for dims in shapes for d in dims for x in d.free_symbols}
    working = {n: v for n, v in derived.base.items() if n in names}
    known: dict[tuple[tuple[str, int], ...], Trace] = {}

    def traced(point: dict[str, int]) -> Trace:
        key = tuple(sorted(point.items()))
        if key not in known:
            inputs = tuple(
                torch.empty(
                    _sizes(dims, point),
                    dtype=dtype,
                    device="meta",
                    requires_grad=i < 3 or (mask is not None and mask.learned),
                )
                for i, (dims, dtype) in enumerate(zip(shapes, dtypes, strict=False))
            )
            known[key] = trace(module, inputs, How(machine=machine), point=point)
        return known[key]

    found = derive(traced, working, derived.model_symbols & frozenset(working), {})
    if found is None or not found.exact:
        return None
    return sympy.expand(
        sympy.Add(
            *(
                g.size * g.count.expr
                for g in found.groups
                if g.key.table == SAVED
                or (g.key.table == INPUT and (g.members[0].op.target != _MASK or (mask is not None and mask.own)))
            )
        )
    )


class _Sdpa(nn.Module):
    def __init__(self, backend: str, facts: SdpaFacts) -> None:
        super().__init__()
        self.backend, self.facts = BACKENDS[backend], facts

    def forward(self, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        facts = self.facts
        with sdpa_kernel([self.backend]):
            return F.scaled_dot_product_attention(
                q, k, v, mask, dropout_p=facts.dropout, is_causal=facts.causal, enable_gqa=facts.gqa
            )


class _Flex(nn.Module):
    def forward(self, q: Any, k: Any, v: Any) -> Any:
        from torch.nn.attention.flex_attention import flex_attention

        gqa = q.shape[1] != k.shape[1]
        return torch.compile(flex_attention)(q, k, v, enable_gqa=gqa)


def _sizes(dims: Dims, point: dict[str, int]) -> tuple[int, ...]:
    values = [evaluate(d, point) for d in dims]
    if None in values:
        raise GraphmemError(f"a shape {dims} is not whole at {point}")
    return tuple(v for v in values if v is not None)


def _as_keys(k: Dims, q: Dims) -> Dims:
    """(…, s_k, d) of what may be transposed for the product."""
    with contextlib.suppress(IndexError):
        if k[-1] != q[-1] and k[-2] == q[-1]:
            return (*k[:-2], k[-1], k[-2])
    return k


def _four(dims: Dims) -> Dims:
    """Four dimensions: what was folded into three for a product stays folded."""
    return (sympy.S.One,) * (4 - len(dims)) + dims if len(dims) < 4 else (sympy.Mul(*dims[:-3]), *dims[-3:])


def _changed(dims: Dims, before: Sequence[int], after: Sequence[int]) -> Dims:
    """`dims` with what a way to a kernel changed at the base point: padded head sizes, repeated heads."""
    if len(before) != len(after):
        dims = _four(dims)
        before = (1,) * (4 - len(before)) + tuple(before) if len(before) < 4 else after
    return tuple(
        d if old == new else d * sympy.Rational(new, old) for d, old, new in zip(dims, before, after, strict=True)
    )
