"""Python's garbage collector: to look through every object takes it longer than a trace."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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


def objects() -> list[Any]:
    """All that the collector lists, and what somebody has frozen: what can be reached from there or from the modules.

    To thaw it would be quicker, but then nobody could freeze just that again. What only a local variable of a call
    under way holds is missing.
    """
    listed = gc.get_objects()
    if not gc.get_freeze_count():
        return listed
    found = {id(one): one for one in [sys.modules, *listed]}
    todo = list(found.values())
    while todo:
        reached = {id(one): one for one in filter(gc.is_tracked, gc.get_referents(*todo))}
        todo = [reached[key] for key in reached.keys() - found.keys()]
        found |= reached
    return list(found.values())
