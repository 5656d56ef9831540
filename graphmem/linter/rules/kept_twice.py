"""The same values, kept in two types or two layouts.

**Why is this bad?**
A cast, or a copy into another layout, makes a second tensor. If one operator keeps the first and another the second,
both stay until backward.

**Example**

    y = torch.sin(x.float())  # keeps x in float32
    z = self.linear(x)        # keeps x in 16 bits

**Use instead**
Use one of them for both, if precision allows it. The rule is off unless asked for: only the author knows that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H
from graphmem.linter.spot import Spot, Term

CODE, NAME, SEVERITY, DEFAULT = "GM207", "kept-twice", "info", False
YIELDS_TO = ("GM203", "GM106", "GM101", "GM109")

_aten = torch.ops.aten


def check(context: Context) -> Iterator[Spot]:
    """Every kept copy of what is kept as well."""
    for op in context.calls(_aten._to_copy, _aten.clone):
        fact, source = op.outputs[0], context.fact(context.takes(op.index)[0])
        if fact is None or source.storage == fact.storage or not {fact.storage, source.storage} <= set(context.kept):
            continue
        whole = math.prod(source.shape) * source.dtype.itemsize == context.kept[source.storage].nbytes
        if not whole or context.kept[fact.storage].op.index != op.index:
            continue
        larger = max((source.storage, fact.storage), key=lambda s: context.kept[s].nbytes)
        how = "types" if source.dtype != fact.dtype else "layouts"
        yield Spot(
            op=op.index,
            storages=(larger,),
            message=f"the same values are kept in two {how}",
            fix="use one of them in both places",
            saving=(Term(larger, context.one(larger)),),
        )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Twice(nn.Module):
    def __init__(self, *, upcast: bool) -> None:
        super().__init__()
        self.body, self.out, self.upcast = nn.Linear(H, H), nn.Linear(H, H), upcast

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.out(x) + (x.float() if self.upcast else x).sin().to(x.dtype)  # type: ignore[no-any-return]


BAD: Examples = {"two types": Example(lambda: _Twice(upcast=True))}
FIXED: Examples = {"two types": Example(lambda: _Twice(upcast=False))}
GOOD: Examples = {"one type": FIXED["two types"]}
