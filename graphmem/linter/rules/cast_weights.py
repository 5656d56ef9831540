"""Copies of weights in another type, kept for backward.

**Why is this bad?**
Under autocast each weight in float32 is cast to 16 bits when it is first used, and the copy is kept until backward: 2
bytes for each parameter, which do not shrink with the batch. Everyone who trains with autocast pays this; so the rule
is off unless asked for.

**Example**

    with torch.autocast("cuda", torch.bfloat16):
        loss = model(x)  # a model in float32

**Use instead**
Weights in 16 bits, with float32 copies in the optimizer, or sharded by FSDP with
`MixedPrecisionPolicy(param_dtype=torch.bfloat16)`.

**Sources**
`cached_cast` in torch's autocast_mode.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from graphmem.linter.context import Context
from graphmem.linter.example import B, Example, Examples, H, S
from graphmem.linter.spot import Spot, Term

CODE, NAME, SEVERITY, DEFAULT = "GM208", "cast-weights", "info", False

_aten = torch.ops.aten


def check(context: Context) -> Iterator[Spot]:
    """Every kept cast of a parameter."""
    for op in context.calls(_aten._to_copy):
        storage, source = context.storage(op.index), context.source(context.takes(op.index)[0])
        if storage in context.kept and context.op(source.op).kind == "parameter":
            yield Spot(
                op=op.index,
                storages=(storage,),
                message="a copy of the weights in another type is kept",
                fix="weights in that type, with float32 copies in the optimizer",
                saving=(Term(storage, context.one(storage)),),
            )


# -- examples ----------------------------------------------------------------------------------------------------------


def _half() -> nn.Module:
    return nn.Sequential(nn.Linear(H, 96).bfloat16(), nn.Linear(96, H).bfloat16())


def _inputs() -> tuple[torch.Tensor, ...]:
    return (torch.empty(B, S, H, dtype=torch.bfloat16, device="meta"),)


_AUTOCAST = {"autocast": "bf16"}
BAD: Examples = {
    "autocast": Example(lambda: nn.Sequential(nn.Linear(H, 96), nn.Linear(96, H)), _inputs, _AUTOCAST, dtype=None)
}
FIXED: Examples = {"autocast": Example(_half, _inputs, _AUTOCAST, dtype=None)}
GOOD: Examples = {"16 bits": FIXED["autocast"]}
