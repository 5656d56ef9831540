"""A dropout that drops nothing and keeps its mask.

**Why is this bad?**
`F.dropout` with p=0 returns its input. Dropout that is written out (layer drop, token drop, drop path) often draws
its mask all the same and keeps it for backward.

**Example**

    keep = torch.empty_like(x).bernoulli_(1 - p)  # with p = 0: ones
    return x * keep / (1 - p)

**Use instead**

    return x if p == 0 else ...

**Sources**
timm's `drop_path`, which begins with `if drop_prob == 0. or not training: return x`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H
from graphmem.linter.spot import Spot, Term
from graphmem.record import Op

CODE, NAME, SEVERITY, DEFAULT = "GM205", "idle-dropout", "warning", True

_aten = torch.ops.aten
_DRAWS = (_aten.bernoulli, _aten.bernoulli_, _aten.native_dropout)


def check(context: Context) -> Iterator[Spot]:
    """Every kept mask that was drawn with a probability at which all of it is ones."""
    for op in context.calls(*_DRAWS):
        if not _keeps_all(op):
            continue
        drawn = {fact.storage for fact in op.outputs if fact is not None}
        drawn |= {context.storage(i) for i in context.users(op.index) if context.packet(i) is _aten._to_copy}
        masks = tuple(sorted(s for s in drawn if s in context.kept))
        if context.packet(op.index) is _aten.native_dropout:
            masks = tuple(s for s in masks if context.kept[s].dtype == "bool")
        if masks:
            yield Spot(
                op=op.index,
                storages=masks,
                message="a dropout that drops nothing draws a mask, and keeps it",
                fix="return the input where p is 0",
                saving=tuple(Term(s, context.one(s)) for s in masks),
            )


def _keeps_all(op: Op) -> bool:
    numbers = [a for a in op.args if isinstance(a, float | int) and not isinstance(a, bool)]
    return bool(numbers) and numbers[0] == (0 if op.target.overloadpacket is _aten.native_dropout else 1)


# -- examples ----------------------------------------------------------------------------------------------------------


class _Drop(nn.Module):
    def __init__(self, p: float, *, check: bool = False) -> None:
        super().__init__()
        self.body, self.p, self.check = nn.Linear(H, H), p, check

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if self.p == 0 and self.check:
            return x * 1.0
        return x * torch.empty_like(x).bernoulli_(1 - self.p) / (1 - self.p)


BAD: Examples = {"p=0": Example(lambda: _Drop(0.0))}
FIXED: Examples = {"p=0": Example(lambda: _Drop(0.0, check=True))}
GOOD: Examples = {"p=0.1": Example(lambda: _Drop(0.1)), "checked": FIXED["p=0"]}
