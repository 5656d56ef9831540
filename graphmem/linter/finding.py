"""What lint says: plain frozen data, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphmem.linter.rule import Rule
from graphmem.usercode.paths import is_users, shown

if TYPE_CHECKING:
    import sympy

    from graphmem.report import Location


@dataclass(frozen=True)
class Finding:
    """One mistake, counted over identical layers.

    target: what was analysed. module: its path with layer numbers as "*"; label: with the numbers. what: the operator
    that makes the tensor. where: the line that makes it; lines: all the user's lines that lead there.
    point: the symbols at which the numbers hold. of: all that is saved there. depth: those of
    them that count layers.
    bytes, expr: what is at stake. saving, saving_expr: how much less is saved once it is fixed; None: not promised.
    measured: the saving comes from the model itself, traced again with the change.
    """

    rule: Rule
    target: str
    message: str
    fix: str
    module: str
    label: str
    what: str
    count: int
    where: Location | None
    lines: tuple[tuple[str, int], ...]
    point: Mapping[str, int]
    of: int
    bytes: int
    expr: sympy.Expr
    saving: int | None
    saving_expr: sympy.Expr | None
    depth: tuple[str, ...] = ()
    measured: bool = False
    number: int = 0

    @property
    def weight(self) -> int:
        """The bytes by which it is judged: what would be saved, or else what is at stake."""
        return self.bytes if self.saving is None else self.saving

    @property
    def here(self) -> Location:
        """Where to show it among the user's own files: the line itself, or the one of theirs that leads to an installed
        package, or the first of the target's file."""
        from graphmem.report import Location

        for file, line in self.lines:
            if is_users(file):
                return Location(shown(file), max(line, 1))
        before, _, _ = self.target.rpartition(".py:")
        return Location(f"{before}.py" if before else self.target, 1)

    @property
    def fingerprint(self) -> str:
        """The same in every run, whatever lines are added above: rule, target, module, operator, and which of those."""
        text = "\n".join([self.rule.code, self.target, self.module, self.what, str(self.number)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]
