"""The activation of a gated MLP, kept beside what it was made from.

**Why is this bad?**
silu(gate) · up keeps gate, up, and silu(gate): 6sbf. The last can be made from the first again, as a fused kernel
does: 4sbf. This is how everyone writes it, so the rule is off unless asked for.

**Example**

    self.down(F.silu(self.gate(x)) * self.up(x))

**Use instead**
Liger's SwiGLU, xformers' `swiglu`, Megatron's bias_swiglu, or an autograd function of your own that saves gate and
up.

**Sources**
[Liger](https://github.com/linkedin/Liger-Kernel), [Korthikanti et al.](https://arxiv.org/abs/2205.05198).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H, Layers
from graphmem.linter.spot import Spot, Term

CODE, NAME, SEVERITY, DEFAULT = "GM204", "gated-activation", "info", False

_aten = torch.ops.aten


def check(context: Context) -> Iterator[Spot]:
    """Every activation that only the product with the other half keeps, while its input is kept too."""
    for op in context.calls(_aten.silu, _aten.gelu):
        made, source = context.storage(op.index), context.fact(context.takes(op.index)[0]).storage
        products = [i for i in context.users(op.index) if context.packet(i) is _aten.mul]
        others = [r for i in products for r in context.takes(i) if context.fact(r).storage != made]
        kept = made in context.kept and source in context.kept and context.only_within(made, products)
        if kept and len(products) == 1 and others and context.fact(others[0]).storage in context.kept:
            yield Spot(
                op=op.index,
                storages=(made,),
                message="the activation of a gated MLP is kept, though it can be made again from its input",
                fix="a fused gate: Liger's SwiGLU, xformers' swiglu",
                saving=(Term(made, context.one(made)),),
            )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Again(torch.autograd.Function):
    """silu(gate) · up, of which only gate and up are kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate) * up

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError


class _Gated(nn.Module):
    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.gate, self.up, self.down, self.again = nn.Linear(H, 96), nn.Linear(H, 96), nn.Linear(96, H), again

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate(x), self.up(x)
        return self.down(_Again.apply(gate, up) if self.again else F.silu(gate) * up)  # type: ignore[no-any-return]


BAD: Examples = {"SwiGLU": Example(lambda: Layers(lambda: _Gated(again=False)))}
FIXED: Examples = {"SwiGLU": Example(lambda: Layers(lambda: _Gated(again=True)))}
GOOD: Examples = {"made again": FIXED["SwiGLU"], "no gate": Example(lambda: nn.Sequential(nn.Linear(H, H), nn.SiLU()))}
