"""What an account is: a function from a record to the storages that count at some moment of the run.

`graphmem.accounts.saved` is one: what is alive after forward. A peak of a training step would be another. The
derivation of formulas (`graphmem.symbolic`) is given an account, and does not know which one it works for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from graphmem.record import Op, Place, Trace

Ordinal = tuple[str, int]


@dataclass(frozen=True)
class Kept:
    """One storage that counts, with its owner and the reason.

    table: which part of the account it belongs to, such as "saved"; each account names its own.
    storage: its index in the trace; op: the operator that made it.
    module: its owner, the innermost module within which all its keepers ran: the attention for what q, k and v
        projections share. made_in: the module whose forward made it. Both with layer numbers in place.
    ordinal: which operator of that module's forward made it: (after which child, which one since then). It tells apart
        storages of one line; ("", 0) where that order may change with the number of layers.
    shape, dtype: of the tensor as it was made; itemsize: bytes of one element; nbytes: bytes of the storage.
    keepers: the reason, names of the autograd nodes that hold it; keeper_ops: the operators these belong to.
    counted: whether it is part of the account's sum. What is only listed beside the sum, because it exists anyway, has
        no part in the proof of the sum's formula.
    """

    table: str
    storage: int
    op: Op
    module: str
    made_in: str
    ordinal: Ordinal
    shape: tuple[int, ...]
    dtype: str
    itemsize: int
    nbytes: int
    keepers: tuple[str, ...]
    keeper_ops: tuple[int, ...]
    counted: bool = True

    @property
    def place(self) -> Place | None:
        return self.op.place

    @property
    def is_dense(self) -> bool:
        """Whether the storage is exactly as large as the tensor that made it: neither padded nor overlapping."""
        return math.prod(self.shape) * self.itemsize == self.nbytes


# Storages in the order in which they were made, each at most once. The same function at every point: what it counts at
# one point has to correspond to what it counts at another, or there is no formula.
Account = Callable[[Trace], tuple[Kept, ...]]
