"""Forward leaves more alive than the budget allows.

**Why is this bad?**
The run will not fit where it is meant to. The budget is for what forward leaves behind: what is saved for backward,
and what closures, caches and outputs hold. Weights, gradients, optimizer state and temporaries come on top.

**Example**

    graphmem lint model.py --budget 40GiB --at s=8192

**Use instead**
What the other findings say; then a smaller batch, checkpointing, or sharding. `graphmem analyze` shows where the
bytes are. In tests: `graphmem.assert_fits`.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphmem.lint.causes import largest_causes
from graphmem.lint.context import Context
from graphmem.lint.example import Example, Examples, attending
from graphmem.lint.spot import Spot, Term
from graphmem.units import human

CODE, NAME, SEVERITY, DEFAULT, ALWAYS = "GM402", "over-budget", "error", True, True


def check(context: Context) -> Iterator[Spot]:
    """The whole model, where a budget was given and is exceeded."""
    alive, budget = context.report.alive, context.budget
    if budget is None or alive.bytes <= budget:
        return
    point = " ".join(f"{n}={v}" for n, v in context.report.symbols.items())
    yield Spot(
        op=-1,
        storages=(),
        message=f"forward leaves {human(alive.bytes)} alive{f' at {point}' if point else ''}, "
        f"{human(alive.bytes - budget)} over the budget of {human(budget)}",
        fix="largest: " + "; ".join(largest_causes(context.report)),
        stake=(Term(-1, alive.expr - budget),),
    )


# -- examples ----------------------------------------------------------------------------------------------------------

_WRITTEN = attending(lambda q, k, v: (q @ k.mT).softmax(-1) @ v)
BAD: Examples = {"small budget": Example(_WRITTEN.module, lint={"budget": 1000})}
FIXED: Examples = {}
GOOD: Examples = {"large budget": Example(_WRITTEN.module, lint={"budget": 2**30}), "no budget": _WRITTEN}
