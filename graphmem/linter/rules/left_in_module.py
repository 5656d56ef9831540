"""Tensors with a graph behind them stay in the module after backward.

**Why is this bad?**
Backward frees what its nodes saved. It does not free a tensor that the module still holds: a list of losses, a cache of
keys and values, the last hidden state. In a list or a dict every step adds its own, so memory grows until the run
ends, by as much as this finding says for one step. In an attribute it lasts until the next forward replaces it. If no
backward reaches the graph behind it, all that the graph saved stays as well.

**Example**

    self.losses.append(loss)
    self.memory.append(hidden)

**Use instead**

    self.losses.append(loss.detach())  # or loss.item(), for a log
    self.memory.append(hidden.detach())

**Sources**
[pytorch#2198](https://github.com/pytorch/pytorch/issues/2198),
[mistral-inference#20](https://github.com/mistralai/mistral-inference/issues/20),
[torch's FAQ](https://docs.pytorch.org/docs/stable/notes/faq.html): "Don't accumulate history across your training
loop".
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H
from graphmem.linter.spot import Spot, Term

CODE, NAME, SEVERITY, DEFAULT = "GM209", "left-in-module", "warning", True


def check(context: Context) -> Iterator[Spot]:
    """Everything that the trace found in modules after forward."""
    for module, name, storage, grows in context.trace.left:
        if storage not in context.derived.group_of:  # there before forward, or on another device
            continue
        what = "and every step adds to that" if grows else "until the next forward replaces it"
        yield Spot(
            op=context.trace.storages[storage].born.op,
            storages=(storage,),
            message=f"stays in self.{name} with its graph after backward, {what}",
            fix="put .detach() of it there, or .item() of a number for a log",
            module=module,
            stake=(Term(storage, context.one(storage)),),
        )


# -- examples ----------------------------------------------------------------------------------------------------------


class _Keeps(nn.Module):
    """What it keeps, in a list, a dict or an attribute."""

    def __init__(self, where: str, *, detach: bool = False) -> None:
        super().__init__()
        self.body, self.where, self.detach = nn.Linear(H, H), where, detach
        self.seen: list[Tensor] = []
        self.cache: dict[str, list[Tensor]] = {"hidden": []}

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        kept = hidden.detach() if self.detach else hidden
        if self.where == "list":
            self.seen.append(kept)
        elif self.where == "dict":
            self.cache["hidden"].append(kept)
        else:
            self.last = kept
        return hidden.square().mean()  # type: ignore[no-any-return]


BAD: Examples = {where: Example(lambda where=where: _Keeps(where)) for where in ("list", "dict", "attribute")}  # type: ignore[misc]
FIXED: Examples = {}  # less stays after backward; what is saved for it is the same
GOOD: Examples = {"detached": Example(lambda: _Keeps("list", detach=True))}
