"""What forward does to a module and to all that it holds is undone: a cache that it fills, a list that it grows.

That is the module's attributes, the classes of its modules, the globals of the files in which these stand, and what
their functions remember: closures, defaults, `lru_cache`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from torch import nn

from graphmem._torch import FakeTensor
from graphmem.trace.parts import (
    CONTAINERS,
    FUNCTIONS,
    LEAVES,
    NOTHING_INSIDE,
    OTHERS,
    Change,
    Globals,
    anything,
    caches_of,
    parts_of,
)
from graphmem.usercode.paths import is_users

# What a file shares with others may be the data that somebody trains on: that much of it is looked through.
_MOST_ITEMS, _MOST_SHARED = 10_000, 20_000


@contextmanager
def undone(modules: Sequence[nn.Module]) -> Iterator[None]:
    """After the block these modules, and every container and plain object that is reached from them, hold what they
    held before it.

    So do their classes, and the files in which they stand. These belong to the whole process, to a training loop in
    another thread for instance: only what holds fake tensors is put back there.
    """
    seen: set[int] = set()
    functions: list[Any] = []
    before = list(_contents(modules, seen, functions=functions))
    around = _contents([*functions, *_around(modules)], seen, most=_MOST_ITEMS)
    shared = list(itertools.islice(around, _MOST_SHARED))
    try:
        yield
    finally:
        for put_back in before:
            put_back(anything)
        for put_back in shared:
            put_back(holds_fake)


def holds_fake(value: object, deep: int = 4) -> bool:
    """Whether a fake tensor is in it."""
    if isinstance(value, FakeTensor):
        return True
    if not deep or not isinstance(value, (tuple, list, set, frozenset, deque, Mapping)):
        return False
    return any(holds_fake(part, deep - 1) for part in list(value.values() if isinstance(value, Mapping) else value))


def _around(modules: Sequence[nn.Module]) -> Iterator[Any]:
    """The classes of the modules that the user's code, or a library of models, has, and the files in which they stand;
    of a library's only what its functions remember."""
    classes = dict.fromkeys(cls for kind in {type(m): None for m in modules} for cls in kind.__mro__)
    own = [cls for cls in classes if cls.__module__.partition(".")[0] not in OTHERS]
    # Not those in sys.modules: a file that was loaded by its path, or run by exec, need not be there.
    functions = (value for cls in own for value in vars(cls).values() if isinstance(value, FunctionType))
    files = {id(function.__globals__): function.__globals__ for function in functions}
    for file in files.values():
        yield from [Globals(file)] if _is_users(file) else caches_of(file)
    yield from own


def _is_users(file: Mapping[str, Any]) -> bool:
    """A notebook has no file, nor has what exec ran."""
    path = file.get("__file__")
    return not isinstance(path, str) or is_users(path)


def _contents(
    values: Iterable[Any], seen: set[int], *, most: int | None = None, functions: list[Any] | None = None
) -> Iterator[Change]:
    """Everything that can change. These keep all of it alive, so that no id is used twice.

    Args:
        seen: ids of what was looked through. most: items of a container that is not looked through, nor put back.
        functions: gets those that are met, for later: what a hook remembers belongs to whoever wrote it.
    """
    open_ = list(values)
    while open_:
        value = open_.pop()
        if type(value) in LEAVES or id(value) in seen or isinstance(value, NOTHING_INSIDE):
            continue
        if functions is not None and isinstance(value, FUNCTIONS):
            functions.append(value)
            continue
        seen.add(id(value))
        if most is not None and isinstance(value, CONTAINERS) and len(value) > most:
            continue
        for change, inside in parts_of(value):
            open_ += inside
            yield change
