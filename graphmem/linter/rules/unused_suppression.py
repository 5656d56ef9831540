"""A comment that silences a rule where the rule has nothing to say.

**Why is this bad?**
The mistake was corrected, or the line moved, and the comment now hides the next one.

**Example**

    y = torch.relu(x)  # graphmem: ignore[GM101] needed for the probe

**Use instead**

    y = torch.relu(x)

Only comments in the files that the model ran through are checked, and only those for rules that are on.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphmem.linter.context import Context
from graphmem.linter.example import Examples
from graphmem.linter.spot import Spot

CODE, NAME, SEVERITY, DEFAULT, ALWAYS = "GM903", "unused-suppression", "warning", True, True


def check(_context: Context) -> Iterator[Spot]:
    """Nothing: it is known only once all rules have run, to graphmem.linter.suppress."""
    yield from ()


BAD: Examples = {}
FIXED: Examples = {}
GOOD: Examples = {}
