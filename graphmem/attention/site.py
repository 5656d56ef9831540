"""One attention that was found."""

from __future__ import annotations

from dataclasses import dataclass

from graphmem.saved import SAVED, Kept
from graphmem.trace.record import Place


@dataclass(frozen=True)
class Site:
    """An attention: the operators from the product of queries and keys to the product with values.

    module: the module that runs it, with layer numbers. kind: "standard" keeps s² terms, "flash" does not.
    ops: indexes of its operators; an autograd node of one of them that keeps a storage makes it the attention's.
    """

    module: str
    kind: str
    kernel: str
    why: str
    place: Place | None
    ops: frozenset[int]

    def kept(self, alive: tuple[Kept, ...]) -> list[Kept]:
        """Those of `alive` that the attention's own operators save."""
        return [k for k in alive if k.table == SAVED and not self.ops.isdisjoint(k.keeper_ops)]
