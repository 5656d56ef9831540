"""What can change in a value, how to put it back, and what is inside: containers, objects, classes, functions."""

from __future__ import annotations

import functools
import sys
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
    WrapperDescriptorType,
)
from typing import Any

import torch
from torch import nn

# Each with the class whose methods copy and fill it, also where a subclass has others.
CONTAINERS: tuple[type[Any], ...] = (deque, OrderedDict, dict, list, set)
_OF_C = (
    *(BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType),
    *(ClassMethodDescriptorType, GetSetDescriptorType, MemberDescriptorType),
)
NOTHING_INSIDE = (torch.Tensor, ModuleType, str, bytes, int, float, complex, type(None), *_OF_C)
# Most values are of one of these classes, and an instance check takes as long as all the rest.
LEAVES = {str, bytes, int, float, bool, type(None), torch.Tensor, nn.Parameter, torch.dtype, torch.device, *_OF_C}
_PLAIN = {*CONTAINERS}
# Objects of these are no part of a model, and lead to what the whole process shares: a logger leads to all loggers.
OTHERS = {*sys.stdlib_module_names, "torch"}
_HOLDERS = (nn.Module, SimpleNamespace, UserDict, UserList, ChainMap, Counter, defaultdict)
FUNCTIONS = (FunctionType, MethodType, functools.partial, staticmethod, classmethod)
_EMPTY = object()
# Py_TPFLAGS_HEAPTYPE (Include/object.h, CPython 3.11): a class that a class statement made, which can be assigned to.
_CAN_CHANGE = 1 << 9


Which = Callable[[object], bool]
# Puts something back, if what it holds now is to be.
Change = Callable[[Which], object]


def anything(_value: object) -> bool:
    """A `Which` that leaves out nothing."""
    return True


class Globals:
    """The globals of a file."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names


Part = tuple[Change, Sequence[Any]]


def parts_of(value: Any) -> Iterator[Part]:
    """What can change in a value: how to put it back, and what is inside."""
    if type(value) in _PLAIN:
        yield _of_container(value, type(value))
    elif isinstance(value, Globals):
        yield from _of_globals(value.names)
    elif isinstance(value, type):
        if value.__flags__ & _CAN_CHANGE:
            yield from _of_class(value)
    elif isinstance(value, FUNCTIONS):
        yield from _of_function(value)
    elif is_cache(value):
        yield from _of_cache(value)
    else:
        yield from _of_object(value)


def _of_object(value: Any) -> Iterator[Part]:
    base = next((kind for kind in CONTAINERS if isinstance(value, kind)), None)
    if base is not None:
        yield _of_container(value, base)
    elif isinstance(value, (tuple, frozenset)):
        yield _unchanging(value)
    if type(value) in CONTAINERS:
        return
    attributes = attributes_of(value)
    if attributes is not None:
        yield _of_container(attributes, dict)
    yield from (_of_slot(value, name) for name in _slots(value))


def _unchanging(inside: Iterable[Any]) -> Part:
    """What is always the same; what is inside may change."""
    return anything, list(inside)


def _of_container(value: Any, base: type[Any]) -> Part:
    content = base.copy(value)  # in one step, also where another thread writes into it
    return functools.partial(_refill, value, content, base), list(content.values() if base in _MAPS else content)


_MAPS = (dict, OrderedDict)


def attributes_of(value: Any) -> dict[str, Any] | None:
    """The attributes of a module, or of an object of a class that the user's code or a library of models has."""
    if not _is_part_of_a_model(value):
        return None
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:  # its attributes are in slots
        return None
    return found if type(found) is dict else None


def _is_part_of_a_model(value: Any) -> bool:
    return isinstance(value, _HOLDERS) or type(value).__module__.partition(".")[0] not in OTHERS


def _slots(value: Any) -> list[str]:
    if not _is_part_of_a_model(value):
        return []
    found: list[str] = []
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in found if name not in ("__dict__", "__weakref__") and not name.startswith("__")]


def _of_slot(value: Any, name: str) -> Part:
    def put_back(which: Which) -> None:
        with suppress(AttributeError):  # frozen, or not a slot of this class after all
            now = getattr(value, name, _EMPTY)
            if now is before or not which(now):
                return
            if before is _EMPTY:
                object.__delattr__(value, name)
            else:
                object.__setattr__(value, name, before)

    before = getattr(value, name, _EMPTY)
    return put_back, [before]


def _of_class(cls: type) -> Iterator[Part]:
    """What the user's class has as attributes; functions among them remember things, too."""
    before = dict(vars(cls))

    def put_back(which: Which) -> None:
        for name, value in _changed(before, vars(cls), which):
            if name.startswith("__"):
                continue
            if value is _EMPTY:
                delattr(cls, name)
            else:
                setattr(cls, name, value)

    yield put_back, list(before.values())


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], which: Which) -> list[tuple[str, Any]]:
    """The names that have another value now, each with the one before."""
    names = [name for name in {**before, **now} if before.get(name, _EMPTY) is not now.get(name, _EMPTY)]
    return [(name, before.get(name, _EMPTY)) for name in names if which(now.get(name))]


def _of_globals(names: dict[str, Any]) -> Iterator[Part]:
    """What a file's own code may have assigned to; not what it has imported meanwhile."""
    before = dict(names)

    def put_back(which: Which) -> None:
        for name, value in _changed(before, names, which):
            if value is not _EMPTY:
                names[name] = value
            elif not isinstance(names[name], ModuleType):
                del names[name]

    own = [v for v in before.values() if getattr(v, "__module__", None) in (None, before.get("__name__"))]
    yield put_back, own


def _of_function(value: Any) -> Iterator[Part]:
    if not isinstance(value, FunctionType):
        yield _unchanging(getattr(value, name, None) for name in ("__func__", "func", "args", "keywords"))
        return
    if value.__module__ is None or value.__module__.partition(".")[0] in OTHERS:
        return
    yield _unchanging([value.__defaults__, value.__kwdefaults__, vars(value)])
    yield from (_of_cell(cell) for cell in value.__closure__ or ())


def _of_cell(cell: CellType) -> Part:
    def put_back(which: Which) -> None:
        now = _content(cell)
        if before is not _EMPTY and now is not before and which(now):
            cell.cell_contents = before

    before = _content(cell)
    return put_back, [before]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _EMPTY


def is_cache(value: Any) -> bool:
    """Whether it remembers its results, as `functools.lru_cache` makes functions do."""
    return hasattr(type(value), "cache_info") and callable(getattr(value, "cache_clear", None))


def caches_of(names: Mapping[str, Any]) -> Iterator[Any]:
    """The functions of a file that remember their results, as they are or behind another decorator."""
    for value in list(names.values()):
        if is_cache(value):
            yield value
        elif isinstance(value, FunctionType):
            yield from (inside for cell in value.__closure__ or () if is_cache(inside := _content(cell)))


def _of_cache(value: Any) -> Iterator[Part]:
    """A cache of functools cannot be put back in part: where something was added, it begins anew, as it may."""
    before = value.cache_info()

    def put_back(_which: Which) -> None:  # what is in it cannot be seen
        if value.cache_info().misses != before.misses:
            value.cache_clear()

    yield put_back, [getattr(value, "__wrapped__", None)]


def _refill(container: Any, before: Any, base: type[Any], which: Which) -> None:
    if _is_as(container, before, base) or not which(base.copy(container)):
        return
    base.clear(container)
    if base in (list, deque):
        base.extend(container, before)
    else:
        base.update(container, before)


def _is_as(container: Any, before: Any, base: type[Any]) -> bool:
    """Whether nothing was put in, taken out or moved. Items of lists and dicts are compared by identity, since a
    comparison of tensors gives a tensor; a set does the same by itself, as tensors are equal there only to themselves.
    """
    if base is set:
        return bool(container == before)
    if base.__len__(container) != base.__len__(before):
        return False
    if base in _MAPS:
        pairs = zip(base.items(container), base.items(before), strict=True)
        return all(a is b and v is w for (a, v), (b, w) in pairs)
    return all(a is b for a, b in zip(base.__iter__(container), base.__iter__(before), strict=True))
