"""An RMSNorm that is written out.

**Why is this bad?**
Written with float32 inside, each norm keeps its input in float32, 4sbh, and its normalised value, 2sbh in 16 bits and
4sbh in float32. The fused one keeps its input as it is, and one number per token.

**Example**

    x32 = x.float()
    x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + eps)
    return weight * x32.to(x.dtype)

**Use instead**

    return F.rms_norm(x, weight.shape, weight, eps)  # or nn.RMSNorm; Gemma's: with 1 + weight

In transformers: `from_pretrained(..., use_kernels=True)`, or Liger. The fused kernel needs a weight of the input's
type: under autocast, where they differ, torch writes it out itself, and this rule is silent.

**Sources**
[LoongForge#136](https://github.com/baidu-baige/LoongForge/pull/136): "an intermediate that the backward pass then has
to keep alive", [Liger#812](https://github.com/linkedin/Liger-Kernel/pull/812), `LlamaRMSNorm` in transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphmem.lint.context import Context
from graphmem.lint.example import Example, Examples, H, Layers
from graphmem.lint.spot import Spot, Term
from graphmem.trace.record import Op, Ref, TensorFact

CODE, NAME, SEVERITY, DEFAULT = "GM203", "unfused-norm", "warning", True

_aten = torch.ops.aten


def check(context: Context) -> Iterator[Spot]:
    """Every x · rsqrt(mean(x²) + eps), with the multiplication by its weight."""
    if context.machine.device != "cuda":  # the CPU has no fused kernel
        return
    brought: set[int] = set()
    for op in context.calls(_aten.rsqrt):
        norm = _norm(op, context)
        if norm is None:
            continue
        gone = tuple(
            s
            for s, kept in context.kept.items()
            if kept.op.index in norm.ops and context.only_within(s, norm.ops) and s != context.storage(op.index)
        )
        if not gone:
            continue
        saving = [Term(s, context.one(s)) for s in gone]
        saving += _of_weight(norm, gone[0], context)
        storage = context.fact(norm.x).storage
        there = storage in context.kept or context.trace.storages[storage].origin != "forward" or storage in brought
        if not there:  # the fused one keeps its input
            brought.add(storage)
            saving.append(Term(gone[0], -context.one(storage)))
        yield Spot(
            op=op.index,
            storages=gone,
            message="an RMSNorm is written out and keeps its intermediate values",
            fix="F.rms_norm or nn.RMSNorm, which keep the input and one number per row",
            # A fused norm of what is not contiguous changes the layout, and with it what later operators copy.
            saving=tuple(saving) if _contiguous(context.fact(norm.x)) else None,
        )


def _contiguous(fact: TensorFact) -> bool:
    expected = 1
    for size, stride in zip(reversed(fact.shape), reversed(fact.stride), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


@dataclass(frozen=True)
class _Norm:
    """x: what is normalised, before any cast; ops: all from that cast to the multiplication with the weight, which is
    `weight`."""

    x: Ref
    weight: Ref | None
    ops: frozenset[int]


def _norm(root: Op, context: Context) -> _Norm | None:
    mean, between = _back(context.takes(root.index)[0], context)
    if mean is None or not _over_last(mean, context):
        return None
    square = context.takes(mean)[0]
    x = _squared(square, context)
    scaled = [i for i in context.users(root.index) if _is_product(i, root.index, x, context)]
    if x is None or len(scaled) != 1 or context.users(root.index) != scaled:
        return None
    after, weight = _ahead(scaled[0], context)
    source, before = x, []
    cast = context.takes(x.op)[0] if context.packet(x.op) is _aten._to_copy else None
    if cast is not None and context.fact(Ref(after[-1], 0)).dtype == context.fact(cast).dtype:
        source, before = cast, [x.op]
        if not set(context.users(x.op)) <= {square.op, scaled[0]}:  # the cast is used for something else as well
            return None
    if weight is not None and context.fact(_stored(weight, context)).dtype != context.fact(source).dtype:
        return None
    return _Norm(source, weight, frozenset({*before, square.op, mean, *between, root.index, *after}))


def _back(ref: Ref, context: Context) -> tuple[int | None, list[int]]:
    """The mean before an epsilon is added."""
    if context.packet(ref.op) is _aten.add:
        return next((r.op for r in context.takes(ref.op) if context.packet(r.op) is _aten.mean), None), [ref.op]
    return (ref.op if context.packet(ref.op) is _aten.mean else None), []


def _over_last(mean: int, context: Context) -> bool:
    op, rank = context.op(mean), len(context.fact(context.takes(mean)[0]).shape)
    return len(op.args) > 2 and list(op.args[1]) in ([-1], [rank - 1]) and op.args[2] is True


def _squared(ref: Ref, context: Context) -> Ref | None:
    op, sources = context.op(ref.op), context.takes(ref.op)
    if context.packet(ref.op) is _aten.pow and op.args[1] == 2:
        return sources[0]
    if context.packet(ref.op) is _aten.mul and len(sources) == 2 and sources[0] == sources[1]:
        return sources[0]
    return None


def _is_product(index: int, root: int, x: Ref | None, context: Context) -> bool:
    return context.packet(index) is _aten.mul and {r for r in context.takes(index) if r.op != root} == {x}


def _ahead(index: int, context: Context) -> tuple[list[int], Ref | None]:
    """From the normalised value over casts to the product with the weight; that product's weight."""
    ops, weight = [index], None
    while len(users := context.users(ops[-1])) == 1:
        (user,) = users
        others = [r for r in context.takes(user) if r.op != ops[-1]]
        if (
            context.packet(user) is _aten.mul
            and len(others) == 1
            and weight is None
            and context.flow.is_weight(others[0].op)
        ):
            weight = others[0]
        elif context.packet(user) is not _aten._to_copy:
            break
        ops.append(user)
    return ops, weight


def _of_weight(norm: _Norm, count_by: int, context: Context) -> list[Term]:
    """Gemma's 1 + weight is kept in float32; the fused norm keeps it in the input's type."""
    storage = context.fact(norm.weight).storage if norm.weight else -1
    if norm.weight is None or storage not in context.kept or not context.only_within(storage, norm.ops):
        return []
    if context.packet(norm.weight.op) is _aten._to_copy:  # a mere cast, which the fused norm does without
        return [Term(count_by, context.one(storage))]
    item = sympy.Rational(context.fact(norm.x).dtype.itemsize, context.fact(norm.weight).dtype.itemsize)
    return [Term(count_by, context.one(storage) * (1 - item))]


def _stored(weight: Ref, context: Context) -> Ref:
    """The parameter itself: Gemma adds 1 to it in float32."""
    while context.op(weight.op).kind == "call" and context.takes(weight.op):
        weight = context.takes(weight.op)[0]
    return weight


# -- examples ----------------------------------------------------------------------------------------------------------


class _Written(nn.Module):
    def __init__(self, *, gemma: bool = False) -> None:
        super().__init__()
        self.weight, self.gemma = nn.Parameter(torch.ones(H)), gemma

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (x32 * (1.0 + self.weight.float())).to(x.dtype) if self.gemma else self.weight * x32.to(x.dtype)


class _Fused(_Written):
    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (H,), 1.0 + self.weight if self.gemma else self.weight, 1e-6)


def _block(norm: nn.Module) -> nn.Module:
    return nn.Sequential(norm, nn.Linear(H, H))


BAD: Examples = {
    "as in Llama": Example(lambda: Layers(lambda: _block(_Written()))),
    "all in float32": Example(
        lambda: Layers(lambda: _block(_Written())), lambda: (torch.empty(2, 64, H, device="meta"),), dtype=None
    ),
    "as in Gemma": Example(lambda: Layers(lambda: _block(_Written(gemma=True)))),
}
FIXED: Examples = {
    "as in Llama": Example(lambda: Layers(lambda: _block(_Fused()))),
    "all in float32": Example(
        lambda: Layers(lambda: _block(_Fused())), lambda: (torch.empty(2, 64, H, device="meta"),), dtype=None
    ),
    "as in Gemma": Example(lambda: Layers(lambda: _block(_Fused(gemma=True)))),
}
GOOD: Examples = {
    "fused": FIXED["as in Llama"],
    "LayerNorm": Example(lambda: Layers(lambda: _block(nn.LayerNorm(H)))),
}
