"""Memory that forward leaves behind, and that neither autograd nor the output holds.

**Why is this bad?**
It is as large as other memory, and graphmem cannot say who holds it: an attribute, a list, a cache, or the closure of a
checkpoint, which keeps keyword arguments where no hook sees them. Off unless asked for: it says something about the
analysis, and often nothing is wrong.

**Example**

    self.last_hidden = hidden.detach()  # alive until the next forward

**Use instead**
Check whether it is needed after forward. The bytes are in what `graphmem analyze` calls held otherwise, and in the
budget of GM402.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from graphmem.accounts.saved import OTHERWISE
from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H
from graphmem.linter.spot import Spot, Term

CODE, NAME, SEVERITY, DEFAULT = "GM901", "unattributed-memory", "info", False


def check(context: Context) -> Iterator[Spot]:
    """Everything alive that no table but "held otherwise" has."""
    for group in context.analysis.tables(OTHERWISE):
        yield Spot(
            op=group.members[0].op.index,
            storages=(),
            message="alive after forward, though neither an autograd node nor the output holds it",
            fix="see whether an attribute, a cache or a checkpoint's keyword arguments need to keep it",
            stake=(Term(-1, group.size * group.count.expr),),
        )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Remembering(nn.Module):
    def __init__(self, *, keep: bool) -> None:
        super().__init__()
        self.body, self.keep = nn.Linear(H, H), keep
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if self.keep:
            self.seen.append(x.detach() + 1)
        return x


BAD: Examples = {"a list": Example(lambda: _Remembering(keep=True))}
FIXED: Examples = {}
GOOD: Examples = {"nothing": Example(lambda: _Remembering(keep=False))}
