"""What a rule yields: one place of a mistake in the trace, where layers are still apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import sympy

from graphmem.analysis.analysis import Analysis
from graphmem.record import Place


class Term(NamedTuple):
    """`each` bytes for every storage that is like `storage`; where `storage` is -1, once for the whole model."""

    storage: int
    each: sympy.Expr


@dataclass(frozen=True)
class Change:
    """A change to the model by which the saving is measured: `after` says what is saved with it, None where that cannot
    be known. Spots with equal `of` are changed together. See graphmem.linter.remeasure."""

    of: object
    after: Callable[[Analysis], sympy.Expr | None] = field(compare=False)


@dataclass(frozen=True)
class Spot:
    """A mistake.

    op: the operator whose line is to blame. storages: what is at stake, of which the first is counted by.
    message: what is wrong, one sentence without a full stop; fix: what to do. Neither names a layer's number.
    saving: what the fix saves, as a sum; None: no promise, or `change` says it.
    module: the module to name; None: the operator's. stake: what is at stake, where it is not all of `storages`.
    place: the line to blame where it is not the operator's.
    """

    op: int
    storages: tuple[int, ...]
    message: str
    fix: str
    saving: tuple[Term, ...] | None = None
    change: Change | None = None
    module: str | None = None
    stake: tuple[Term, ...] | None = None
    place: Place | None = None
