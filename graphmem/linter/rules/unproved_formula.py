"""A saved tensor whose bytes are only a number: graphmem found no formula, or could not prove it.

**Why is this bad?**
What graphmem says about sizes other than the traced one does not hold for this tensor. Off unless asked for: it says
something about the analysis, not about the model.

**Use instead**
Analyse at the sizes that you mean, with `--set`; and report it.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H
from graphmem.linter.spot import Spot

CODE, NAME, SEVERITY, DEFAULT = "GM902", "unproved-formula", "info", False


def check(context: Context) -> Iterator[Spot]:
    """Every kept tensor without a proved expression."""
    for storage, kept in context.kept.items():
        if context.group(storage).dims is None:
            yield Spot(
                op=kept.op.index,
                storages=(storage,),
                message="no proved formula gives this tensor's bytes",
                fix="analyse at the sizes that you mean: --set",
            )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Odd(nn.Module):
    def __init__(self, *, odd: bool) -> None:
        super().__init__()
        self.body, self.odd = nn.Linear(H, H), odd

    def forward(self, x: Tensor) -> Tensor:
        s = x.shape[1]
        return self.body(x)[:, : s * s % 23 + 3 if self.odd else s].clone().sin()  # type: ignore[no-any-return]


BAD: Examples = {"a remainder": Example(lambda: _Odd(odd=True))}
FIXED: Examples = {}
GOOD: Examples = {"all of it": Example(lambda: _Odd(odd=False))}
