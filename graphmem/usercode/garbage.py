"""Python's garbage collector: to look through every object takes it longer than a trace."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def set_aside() -> Iterator[None]:
    """Within the block the collector does not look through what exists before it.

    That is the million objects of torch and transformers: to collect among them takes as long as three traces. Where
    somebody else has frozen objects, they stay frozen.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def put_off() -> Iterator[None]:
    """Within the block nothing is collected, so at its end all that it made is in the youngest generation.

    One cheap ``gc.collect(0)`` there frees what only reference cycles hold.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
