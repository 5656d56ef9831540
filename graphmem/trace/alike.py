"""Operators that answer alike for every size: they keep the shape of what they get, if that lies in memory row by row.

One answer of fake mode then tells all others, of the same operator with the same types. Working one out takes some
hundred microseconds: fake mode runs Python for it, which has layouts of every other kind in mind.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import torch

from graphmem._torch import FakeTensor
from graphmem.trace.direct import operators

# Element by element (TensorIterator in C++), or along a dimension of a result that is as large.
_KEEP_SHAPE = operators("""
    add.Tensor sub.Tensor mul.Tensor div.Tensor add.Scalar sub.Scalar mul.Scalar div.Scalar pow.Tensor_Scalar
    eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar
    ge.Scalar bitwise_and.Tensor bitwise_or.Tensor bitwise_not where.self masked_fill.Scalar minimum maximum
    exp log sqrt rsqrt neg abs cos sin gelu silu relu sigmoid tanh softplus elu
    native_dropout _softmax _log_softmax _safe_softmax
""")


class Pattern(NamedTuple):
    """A question but for its sizes, and the shape of its largest tensor."""

    key: Hashable
    shape: tuple[int, ...]


def pattern_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[FakeTensor]) -> Pattern | None:
    """None where the answer may depend on the sizes. tensors: all that `args` and `kwargs` hold."""
    if func not in _KEEP_SHAPE or not tensors:
        return None
    largest = tuple(max(tensors, key=torch.Tensor.numel).shape)
    described: list[Hashable] = [func, torch.get_default_dtype(), *map(_class, largest, largest)]
    for value in (*args, *kwargs.items()):
        if isinstance(value, FakeTensor):
            dims = _dims(value, largest)
            if dims is None:
                return None
            described += (value.dtype, value.fake_device, dims)
        elif isinstance(value, (list, tuple)):
            return None
        else:
            described.append((type(value), value))
    return Pattern(tuple(described), largest)


def in_rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor of that shape that lies in memory row by row."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _dims(tensor: FakeTensor, largest: tuple[int, ...]) -> tuple[str, ...] | None:
    """What each dimension is beside that of the largest shape; None where the tensor is not laid out in rows, or does
    not fit that shape."""
    shape = tuple(tensor.shape)
    if len(shape) > len(largest) or tensor.stride() != in_rows(shape):
        return None
    found = tuple(_paired(shape, largest))
    return None if "other" in found else found


def _paired(shape: tuple[int, ...], largest: tuple[int, ...]) -> Iterator[str]:
    for size, full in zip(shape, largest[len(largest) - len(shape) :], strict=True):
        yield _class(size, full)


def _class(size: int, full: int) -> str:
    """A size of 0 or 1 is special."""
    if size == full:
        return str(size) if size < 2 else "full"
    return "1 of more" if size == 1 else "other"
