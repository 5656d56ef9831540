"""Two reports side by side: how much more one keeps, where, and the formula of the difference.

Both sides are the plain data of `Report.to_dict`, so a saved JSON report works as well as a fresh one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from graphmem.errors import UsageError
from graphmem.report.saved import HINT, checked
from graphmem.symbolic.curves import symbol
from graphmem.symbolic.read import read_expression
from graphmem.symbolic.text import formula

Data = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """The bytes of a module or a total on both sides; 0 where a side lacks it."""

    what: str
    before: int
    after: int

    @property
    def more(self) -> int:
        return self.after - self.before


@dataclass(frozen=True)
class Diff:
    """Two reports compared; sizes are bytes.

    before, after: the reports as plain data. saved, alive: the totals. expr: saved after minus saved before, None if
    the two name their symbols differently. modules: by path, largest difference first. attention: (module, kernel
    before, kernel after) where the kernels differ.
    """

    before: Data
    after: Data
    saved: Difference
    alive: Difference
    expr: sympy.Expr | None
    modules: tuple[Difference, ...]
    attention: tuple[tuple[str, str, str], ...]


def diff(before: Data, after: Data) -> Diff:
    """Compare two reports as `Report.to_dict` gives them.

    Raises:
        UsageError: one of them is not a report.
    """
    before, after = checked(before), checked(after)
    return Diff(
        before,
        after,
        _difference("saved", before["saved"], after["saved"]),
        _difference("alive", before["alive"], after["alive"]),
        _expression(before, after),
        tuple(sorted(_modules(before, after), key=lambda c: -abs(c.more))),
        _attention(before, after),
    )


def _difference(what: str, before: Data, after: Data) -> Difference:
    return Difference(what, before["bytes"], after["bytes"])


def _expression(before: Data, after: Data) -> sympy.Expr | None:
    if set(before["symbols"]) != set(after["symbols"]):
        return None
    names = {name: symbol(name) for name in before["symbols"]}
    try:
        first, second = (read_expression(side["saved"]["expr"], names) for side in (before, after))
        difference = sympy.expand(second - first)
        formula(difference, after["symbols"])  # has a value there: 1/(s - 3) has none at s=3
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"one of the two is not a graphmem report, or was changed by hand: {error}", hint=HINT
        ) from None
    return difference


def _modules(before: Data, after: Data) -> list[Difference]:
    own = [{m["module"]: m["own_bytes"] for m in side["modules"]} for side in (before, after)]
    paths = [m["module"] for m in after["modules"]] + [p for p in own[0] if p not in own[1]]
    differences = [Difference(path, own[0].get(path, 0), own[1].get(path, 0)) for path in dict.fromkeys(paths)]
    return [one for one in differences if one.more]


def _attention(before: Data, after: Data) -> tuple[tuple[str, str, str], ...]:
    """Where the kernels differ: module, kernel before, kernel after."""
    kernels: list[dict[str, str]] = []
    for side in (before, after):
        found: dict[str, list[str]] = {}
        for a in side["attention"]:
            found.setdefault(a["module"], []).append(a["kernel"])
        kernels.append({module: ", ".join(dict.fromkeys(names)) for module, names in found.items()})
    modules = dict.fromkeys([*kernels[0], *kernels[1]])
    both = ((m, kernels[0].get(m, "none"), kernels[1].get(m, "none")) for m in modules)
    return tuple(row for row in both if row[1] != row[2])
