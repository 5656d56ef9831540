"""`set_aside`: what exists before some work is left out of the garbage collections within it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def set_aside() -> Iterator[None]:
    """Keep the collector from looking through what is there already, the million objects of torch and transformers:
    one collection of them takes as long as three traces. What somebody else has frozen stays so."""
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
