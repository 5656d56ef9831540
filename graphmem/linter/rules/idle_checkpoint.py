"""Checkpointing that frees next to nothing.

**Why is this bad?**
A checkpoint keeps the inputs of what it wraps, and runs it once more in backward. If what is inside keeps little
else, as attention does with a flash kernel, or if the next operator keeps the result anyway, the time is spent and
nothing is gained.

**Example**

    out = checkpoint(F.scaled_dot_product_attention, q, k, v)  # flash: keeps q, k, v and its output either way

**Use instead**
Nothing there; or a checkpoint around the whole layer, which keeps 2sbh of its 34sbh. It is found by tracing the model
with these checkpoints switched off: they free less than a tenth of what they hold.

**Sources**
[Megatron-LM#464](https://github.com/NVIDIA/Megatron-LM/issues/464): "Selective recomputation should not be needed if
using Flash Attention", [Megatron-LM#7237](https://github.com/NVIDIA/Megatron-LM/pull/7237).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from graphmem.linter.checkpoints import alive, held_by_checkpoints, without_checkpoints
from graphmem.linter.context import Context
from graphmem.linter.example import Attention, Example, Examples, H, Layers, attending
from graphmem.linter.spot import Spot
from graphmem.record import Place

CODE, NAME, SEVERITY, DEFAULT = "GM301", "idle-checkpoint", "warning", True

LEAST = 0.1  # freed, of what is held


def check(context: Context) -> Iterator[Spot]:
    """Every line that checkpoints, where the model without these checkpoints keeps hardly more."""
    lines: dict[Place, set[int]] = {}
    for storage, line in held_by_checkpoints(context):
        lines.setdefault(line, set()).add(storage)
    for line, held in lines.items():
        without = without_checkpoints(context, line)
        nbytes = sum(context.trace.storages[s].nbytes for s in held)
        if without is None or alive(without) - alive(context.trace) >= LEAST * nbytes:
            continue
        for storage in sorted(held & set(context.kept)):
            yield Spot(
                op=context.kept[storage].op.index,
                storages=(storage,),
                message="checkpointing here frees less than a tenth of what it holds",
                fix="leave it out, or checkpoint the whole layer",
                module=context.kept[storage].module,
                place=line,
            )


# -- examples ----------------------------------------------------------------------------------------------------------


def _checkpointed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return checkpoint(F.scaled_dot_product_attention, q, k, v, use_reentrant=False)  # type: ignore[no-any-return]


class _Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            Attention(F.scaled_dot_product_attention), nn.Linear(H, 4 * H), nn.GELU(), nn.Linear(4 * H, H)
        )

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)  # type: ignore[no-any-return]


BAD: Examples = {"fused attention": attending(_checkpointed)}
FIXED: Examples = {}
GOOD: Examples = {
    "whole layer": Example(lambda: Layers(_Checkpointed)),
    "without": attending(F.scaled_dot_product_attention),
    "attention written out": attending(
        lambda q, k, v: checkpoint(lambda *t: torch.softmax(t[0] @ t[1].mT, -1) @ t[2], q, k, v, use_reentrant=False)
    ),
}
