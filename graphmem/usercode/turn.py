"""`users_turn`: a block in which the user's code runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from graphmem.usercode.interrupts import may_come
from graphmem.usercode.randomness import drawing
from graphmem.usercode.settings import changing


@contextmanager
def users_turn(*, real: bool = False, fake: bool = False) -> Iterator[None]:
    """What the user's code draws and changes inside the block is put back after the analysis; `drawing` has the
    arguments."""
    inside = nullcontext() if fake else may_come()  # forward says itself where it may
    with changing(), drawing(real=real, fake=fake), inside:
        yield
