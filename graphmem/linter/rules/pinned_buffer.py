"""A view that is kept for backward holds a much larger buffer.

**Why is this bad?**
Memory is freed by the buffer, not by the view. Where q, k and v come out of one projection and only v is needed later
as it is (q and k are rotated), v keeps the whole 6sbh buffer alive for its 2sbh. The same goes for a slice of hidden
states.

**Example**

    q, k, v = self.qkv(x).chunk(3, dim=-1)
    out = attention(rotate(q), rotate(k), v)  # v pins q and k as they were before the rotation

**Use instead**

    out = attention(rotate(q), rotate(k), v.clone())  # or three projections, or rotate in place

`clone()` leaves the order of the dimensions in memory as it is. `contiguous()` after a transposition changes it, and an
attention kernel's output is laid out as q is: it would then be copied for the next linear layer, and kept twice.

**Sources**
[Primus#745](https://github.com/AMD-AGI/Primus/pull/745): 7 to 10 GB on Qwen3-30B.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import sympy
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import HEADS, Example, Examples, H, Layers
from graphmem.linter.spot import Spot, Term
from graphmem.record import Ref, TensorFact

CODE, NAME, SEVERITY, DEFAULT = "GM105", "pinned-buffer", "warning", True

_OPERATOR = re.compile(r"Backward\d+$")  # an ATen operator's node; a custom function's has no number
WORTH = 0.25  # of the buffer; a row less is not a mistake


def check(context: Context) -> Iterator[Spot]:
    """Every kept buffer of which the operators that keep it can have saved only a part."""
    for storage, kept in context.kept.items():
        views = _saved_views(storage, context)
        if not views:
            continue
        pinned = kept.nbytes - sum(_elements(fact) * kept.itemsize for _, fact in views)
        if pinned < WORTH * kept.nbytes:
            continue
        used = sympy.Add(*(_size(ref, context) for ref, _ in views))
        terms = (Term(storage, context.one(storage) - used),)
        yield Spot(
            op=kept.op.index,
            storages=(storage,),
            message="a view of this tensor is kept for backward, and holds all of it",
            fix="copy what is kept, with .clone(), which leaves its layout as it is; or make it a tensor of its own",
            saving=terms,
        )


def _saved_views(storage: int, context: Context) -> list[tuple[Ref, TensorFact]]:
    """What the keepers of a storage take or return of it, each part once; nothing where that cannot be known."""
    found: dict[tuple[object, ...], tuple[Ref, TensorFact]] = {}
    for keep in context.trace.storages[storage].keeps:
        if keep.op < 0 or not _OPERATOR.search(keep.node):
            return []
        own = [Ref(keep.op, i) for i, fact in enumerate(context.op(keep.op).outputs) if fact is not None]
        refs = [ref for ref in [*context.takes(keep.op), *own] if context.fact(ref).storage == storage]
        if not refs:
            return []
        for ref in refs:
            fact = context.fact(ref)
            found[fact.offset, *sorted(zip(fact.stride, fact.shape, strict=True))] = (ref, fact)
    facts = list(found.values())
    return facts if _apart([fact for _, fact in facts]) else []


def _apart(facts: list[TensorFact]) -> bool:
    """Whether the views are of one size, so that each is a part of its own, or there is only one."""
    return len({(f.shape, f.stride) for f in facts}) == 1 and len({f.offset for f in facts}) == len(facts)


def _elements(fact: TensorFact) -> int:
    return math.prod(n for n, stride in zip(fact.shape, fact.stride, strict=True) if stride)


def _size(ref: Ref, context: Context) -> sympy.Expr:
    fact, dims = context.fact(ref), context.derived.shape(ref)
    shape = dims if dims is not None else tuple(map(sympy.Integer, fact.shape))
    return sympy.Mul(*(d for d, stride in zip(shape, fact.stride, strict=True) if stride)) * fact.dtype.itemsize


# -- examples ----------------------------------------------------------------------------------------------------------


class _Packed(nn.Module):
    """q, k and v out of one projection; q and k are rotated."""

    def __init__(self, *, copy: bool, rotate: bool = True) -> None:
        super().__init__()
        self.qkv, self.out, self.copy, self.rotate = nn.Linear(H, 3 * H), nn.Linear(H, H), copy, rotate

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        if self.rotate:
            q, k = _rotated(q), _rotated(k)
        v = v.clone() if self.copy else v
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _rotated(x: Tensor) -> Tensor:
    angle = torch.arange(x.shape[2], device=x.device, dtype=torch.float32)[:, None]
    return x * angle.cos().to(x.dtype) + x.flip(-1) * angle.sin().to(x.dtype)


class _First(nn.Module):
    """A classifier on the first position."""

    def __init__(self, *, copy: bool) -> None:
        super().__init__()
        self.body, self.head, self.copy = nn.Linear(H, H), nn.Linear(H, 2), copy

    def forward(self, x: Tensor) -> Tensor:
        first = self.body(x)[:, 0]
        return self.head(first.clone() if self.copy else first)  # type: ignore[no-any-return]


BAD: Examples = {
    "packed qkv, rotated": Example(lambda: Layers(lambda: _Packed(copy=False))),
    "first position": Example(lambda: _First(copy=False)),
}
FIXED: Examples = {
    "packed qkv, rotated": Example(lambda: Layers(lambda: _Packed(copy=True))),
    "first position": Example(lambda: _First(copy=True)),
}
GOOD: Examples = {
    "packed qkv, as it is": Example(lambda: Layers(lambda: _Packed(copy=False, rotate=False))),
    "copied": FIXED["packed qkv, rotated"],
}
