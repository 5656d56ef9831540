"""Activations that are kept by a branch which the loss never uses.

**Why is this bad?**
A branch that does not reach the loss frees what it kept as soon as nobody holds its result. If the result is put
somewhere, in an attribute, a list, a cache, its whole graph stays alive, and no backward will ever run through it.

**Example**

    self.features.append(self.probe(x))  # to look at later

**Use instead**

    self.features.append(self.probe(x).detach())  # or under torch.no_grad()

**Sources**
[PyTorch FAQ](https://docs.pytorch.org/docs/stable/notes/faq.html): "Don't accumulate history across your training
loop".
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H
from graphmem.linter.spot import Spot, Term
from graphmem.record import UNREACHED

CODE, NAME, SEVERITY, DEFAULT = "GM206", "unused-branch", "warning", True


def check(context: Context) -> Iterator[Spot]:
    """Everything that is kept only by nodes that backward does not reach."""
    for storage, kept in context.kept.items():
        if all(keeper == UNREACHED for keeper in kept.keepers):
            yield Spot(
                op=kept.op.index,
                storages=(storage,),
                message="kept by a branch that the loss does not reach; something else holds its result",
                fix="detach() what is put aside, or make it under torch.no_grad()",
                saving=(Term(storage, context.one(storage)),),
            )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Probe(nn.Module):
    def __init__(self, *, detach: bool) -> None:
        super().__init__()
        self.body, self.probe, self.detach = (
            nn.Linear(H, H),
            nn.Sequential(nn.Linear(H, 96), nn.GELU(), nn.Linear(96, 1)),
            detach,
        )
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        seen = self.probe(x)
        self.seen.append(seen.detach() if self.detach else seen)
        return x.square().mean()


BAD: Examples = {"put aside": Example(lambda: _Probe(detach=False))}
FIXED: Examples = {"put aside": Example(lambda: _Probe(detach=True))}
GOOD: Examples = {"detached": FIXED["put aside"]}
