"""Stand-ins for attention packages that are not installed or cannot run here: flash-attn 2, 3 and 4, xformers.

    packages/         what `import flash_attn` finds where there is none: the same functions, saving the same tensors
    operators.py      what these are made of
    imports.py        the finders by which an import finds them
    transformers.py   what transformers remembers about installed packages

Nothing here is imported unless a model asks for one of the packages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from graphmem.stand_ins.imports import StandIns
from graphmem.stand_ins.transformers import unremembered

__all__ = ["StandIns", "stand_ins"]

_active: list[StandIns] = []


@contextmanager
def stand_ins(without: Collection[str] = ()) -> Iterator[StandIns]:
    """Let models import flash_attn, flash_attn_interface, flash_attn.cute and xformers.ops, whatever is installed.

    A package that is really installed is used; its parts that only run on a GPU are exchanged. After the block modules,
    finders and what transformers remembers are as before. Within another such block this one does nothing.

    Args:
        without: packages or modules, such as "xformers", that get no stand-in.
    """
    if _active:
        yield _active[-1]
        return
    active = StandIns(frozenset(without))
    _active.append(active)
    try:
        with unremembered(active), active:
            yield active
    finally:
        _active.remove(active)
