"""What fake mode has answered, so that it is asked once: layers are alike, and so are most operators of two traces.

For all but a few operators, how the result is laid out depends on the layout of the arguments alone. Fake mode keeps
such answers too, but looking one up there takes as long as working it out anew.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from graphmem._torch import FakeTensor, FakeTensorMode, in_kernel_invocation_manager, schema_of, storage_id
from graphmem.trace.alike import in_rows, pattern_of
from graphmem.trace.direct import directly

# A loop over positions has as many different answers; what they need in memory must not matter.
_MOST = 50_000
_CONSTANTS = {type(None), bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format}


@dataclass(frozen=True)
class _Layout:
    """One result. viewed: the tensor among the arguments whose storage it has; None for one of its own."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    viewed: int | None

    def make(self, arguments: list[FakeTensor]) -> torch.Tensor:
        """A meta tensor; dispatch has to be off."""
        if self.viewed is None:
            return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")
        return torch.as_strided(arguments[self.viewed], self.shape, self.stride, self.offset)


@dataclass(frozen=True)
class _Answer:
    """The results of one operator. sequence: the tuple or list they come in; None for one alone."""

    layouts: tuple[_Layout, ...]
    sequence: type | None

    def at(self, shape: tuple[int, ...]) -> _Answer:
        """The same with results of that shape, which lie in memory row by row."""
        rows = in_rows(shape)
        layouts = (replace(one, shape=shape, stride=rows, offset=0, viewed=None) for one in self.layouts)
        return replace(self, layouts=tuple(layouts))

    def again(self, mode: FakeTensorMode, arguments: list[FakeTensor]) -> Any:
        with in_kernel_invocation_manager(mode):
            made = [layout.make(arguments) for layout in self.layouts]
        fakes = [FakeTensor(mode, m, layout.device) for m, layout in zip(made, self.layouts, strict=True)]
        return fakes[0] if self.sequence is None else self.sequence(fakes)


class Answers:
    """Answers of fake mode, by operator and layout of the arguments; for any number of traces."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], _Answer | None] = {}
        self._alike: dict[Hashable, _Answer] = {}

    def ask(self, mode: FakeTensorMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What `func` returns under `mode`, which is on."""
        key: list[Any] = [func, torch.get_default_dtype()]
        tensors: list[FakeTensor] = []
        if not (_repeatable(func) and _describe((*args, *kwargs.items()), key, tensors)):
            return func(*args, **kwargs)
        known = self._known.get(found := tuple(key))
        if known is not None:
            return known.again(mode, tensors)
        pattern = pattern_of(func, args, kwargs, tensors) if found not in self._known else None
        alike = self._alike.get(pattern.key) if pattern is not None else None
        if pattern is not None and alike is not None:
            self._remember(found, answer := alike.at(pattern.shape))
            return answer.again(mode, tensors)
        result = directly(mode, func, args, kwargs, tensors)
        if result is NotImplemented:
            result = func(*args, **kwargs)
        if found not in self._known:
            self._remember(found, new := _answer(result, tensors))
            if pattern is not None and new is not None and new == new.at(pattern.shape):
                self._alike[pattern.key] = new
        return result

    def _remember(self, question: tuple[Any, ...], answer: _Answer | None) -> None:
        if len(self._known) < _MOST:
            self._known[question] = answer


@cache
def _repeatable(func: Any) -> bool:
    """Whether the results are laid out by the arguments' layout alone, and nothing is written to."""
    decided_by_values = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
    return func.namespace == "aten" and not schema_of(func).is_mutable and not decided_by_values & set(func.tags)


def _describe(values: Any, key: list[Any], tensors: list[FakeTensor]) -> bool:
    """Append to `key` what decides the answer, and to `tensors` every tensor; False where something else may decide."""
    for value in values:
        kind = type(value)
        if kind is FakeTensor:
            if value.constant is not None or value.layout is not torch.strided or value.dtype.is_complex:
                return False
            key += (value.shape, value.stride(), value.storage_offset(), value.dtype, value.fake_device)
            tensors.append(value)
        elif kind in _CONSTANTS:
            key += (kind, value)  # 1, 1.0 and True are equal
        elif kind in (list, tuple):
            key.append(len(value))
            if not _describe(value, key, tensors):
                return False
        else:
            return False
    return True


def _answer(result: Any, tensors: list[FakeTensor]) -> _Answer | None:
    """The answer to remember; None where it cannot be given again from layouts."""
    sequence = type(result) if type(result) in (list, tuple) else None
    layouts = [_layout(one, tensors) for one in (result if sequence else [result])]
    known = tuple(layout for layout in layouts if layout is not None)
    return _Answer(known, sequence) if known and len(known) == len(layouts) else None


def _layout(result: Any, tensors: list[FakeTensor]) -> _Layout | None:
    if type(result) is not FakeTensor or result.constant is not None or result.layout is not torch.strided:
        return None
    shape, stride, offset = tuple(result.shape), result.stride(), int(result.storage_offset())
    storage = result.untyped_storage()
    address = storage_id(storage)
    viewed = next((i for i, t in enumerate(tensors) if storage_id(t.untyped_storage()) == address), None)
    if viewed is not None and tensors[viewed].dtype != result.dtype:
        return None
    if viewed is None:
        with in_kernel_invocation_manager(result.fake_mode):
            alone = torch.empty_strided(shape, stride, dtype=result.dtype, device="meta").untyped_storage().nbytes()
        if offset or storage.nbytes() != alone:
            return None
    return _Layout(shape, stride, offset, result.dtype, result.fake_device, viewed)
