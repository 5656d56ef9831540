"""Forward leaves more alive than the budget allows.

**Why is this bad?**
The run will not fit into the memory it has. The budget is for what forward leaves behind: what is saved for backward,
and what closures, caches and outputs hold. Weights, gradients, optimizer state and temporaries come on top.

**Example**

    graphmem lint model.py --budget 40GiB --at s=8192

**Use instead**
What the other findings say; then a smaller batch, checkpointing, or sharding. What a checkpoint around every layer
saves is measured: the model is traced again with them. `graphmem analyze` shows where the bytes are. In tests:
`graphmem.assert_fits`.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from graphmem.linter.checkpoints import with_checkpoints
from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H, Layers
from graphmem.linter.spot import Change, Spot, Term
from graphmem.points import as_text
from graphmem.report.causes import largest_causes
from graphmem.units import human
from graphmem.usercode.layers import outermost

CODE, NAME, SEVERITY, DEFAULT, ALWAYS = "GM402", "over-budget", "error", True, True


def check(context: Context) -> Iterator[Spot]:
    """The whole model, where a budget was given and is exceeded."""
    alive, budget = context.report.alive, context.budget
    if budget is None or alive.bytes <= budget:
        return
    point = as_text(context.report.symbols)
    yield Spot(
        op=-1,
        storages=(),
        message=f"forward leaves {human(alive.bytes)} alive{f' at {point}' if point else ''}, "
        f"{human(alive.bytes - budget)} over the budget of {human(budget)}",
        fix=_how(context),
        change=Change("layers checkpointed", with_checkpoints) if context.trace.containers else None,
        stake=(Term(-1, alive.expr - budget),),
    )


def _how(context: Context) -> str:
    layers = ", ".join(context.label(f"{path}.*".lstrip(".")) for path in outermost(sorted(context.trace.containers)))
    causes = f"less of what is largest: {'; '.join(largest_causes(context.report, 3))}"
    return f"a checkpoint around each of {layers}, or {causes}" if layers else causes


# -- examples ----------------------------------------------------------------------------------------------------------


class _Residual(nn.Module):
    """A layer that adds its input, as layers do."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.body, self.again = nn.Sequential(nn.Linear(H, 4 * H), nn.GELU(), nn.Linear(4 * H, H)), again

    def forward(self, x: Tensor) -> Tensor:
        if self.again:
            return checkpoint(self.whole, x, use_reentrant=False)  # type: ignore[no-any-return]
        return self.whole(x)

    def whole(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


_LAYERS = Example(lambda: Layers(lambda: _Residual(again=False)))
BAD: Examples = {"small budget": Example(_LAYERS.module, lint={"budget": 1000})}
FIXED: Examples = {"small budget": Example(lambda: Layers(lambda: _Residual(again=True)))}
GOOD: Examples = {"large budget": Example(_LAYERS.module, lint={"budget": 2**30}), "no budget": _LAYERS}
