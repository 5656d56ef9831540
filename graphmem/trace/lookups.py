"""Rows that a table does not have: torch raises, but fake mode looks up any row.

Without this check a model would seem to have positions without end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from graphmem.record import Op, Ref, Trace, references
from graphmem.trace.traits import elements, is_drawn, is_like
from graphmem.trace.values import Values

# Positions of the longest inputs, and what works them out.
LIMIT, _MOST_OPERATORS = 2**20, 64
# Ids themselves are looked up as they are, or as views: only what is worked out from them is asked for.
_VIEWS = 3
_OF_INDICES = (torch.int64, torch.int32)
_aten = torch.ops.aten


def check_lookup(trace: Trace, values: Values, func: Any, args: Any) -> None:
    """Raise where torch would, as far as sizes, constants and padding decide; `args` as recorded.

    Raises:
        IndexError: an index asks for a row that there is not.
        RuntimeError: the indices of an embedding are not whole numbers. The fake mode of torch 2.11 accepts those.
    """
    if func not in _LOOKUPS:
        return
    lookups = list(_lookups(trace, func, args))
    dtypes = [fact.dtype if (fact := trace.fact(index)) else None for index, _, _ in lookups]
    if func is _aten.embedding.default and dtypes[0] not in _OF_INDICES:
        raise RuntimeError(f"Expected indices of an embedding to be Long or Int, but they are {dtypes[0]}")
    for index, least, rows in lookups if all(d in _OF_INDICES for d in dtypes) else ():
        asked = values.extremes(index) if _is_known(trace, values, index) else None
        if asked is not None and not least <= asked[0] <= asked[1] < rows:
            error = IndexError(f"rows {asked[0]} to {asked[1]} of {rows}")
            error.graphmem_hint = "shorter inputs, or more positions in the model's config"  # type: ignore[attr-defined]
            raise error


_LOOKUPS = (_aten.embedding.default, _aten.index_select.default, _aten.index.Tensor)


def _lookups(trace: Trace, func: Any, args: Any) -> Iterator[tuple[Ref, int, int]]:
    """Indices, and the least and the number of the rows that they may ask for."""
    table = trace.fact(args[0])
    shape = table.shape if table else ()
    if func is _aten.embedding.default:
        yield args[1], 0, shape[0]
    elif func is _aten.index_select.default:
        yield args[2], 0, shape[args[1]] if shape else 1
    else:
        yield from ((index, -rows, rows) for index, rows in zip(args[1], shape, strict=False) if index is not None)


def _is_known(trace: Trace, values: Values, index: Ref) -> bool:
    """Whether it is little work to know an index, and nothing is taken for granted."""
    behind = _behind(trace, index)
    if behind is None:
        return False
    return not any(op.kind == "input" for op in behind) or (len(behind) > _VIEWS and _few_ids(trace, values))


def _behind(trace: Trace, index: Ref) -> list[Op] | None:
    """What an index is made of; None where that is much, chance, or not in whole numbers all along: T5's distances."""
    found: list[Op] = []
    for op in trace.behind([index.op], lambda op: () if is_like(op) else references(op)):
        found.append(op)
        if len(found) > _MOST_OPERATORS or is_drawn(op) or not (_is_whole(op) and 0 < elements(op) <= LIMIT):
            return None
    return found


def _few_ids(trace: Trace, values: Values) -> bool:
    """Whether the inputs have values, and these are few and whole: where padding is, positions are not counted."""
    inputs = [op for op in trace.ops if op.kind == "input"]
    if sum(map(elements, inputs)) > LIMIT or not all(map(_is_whole, inputs)):
        return False
    known = values.of_inputs()
    return all(op.name in known and not known[op.name].is_meta for op in inputs)


def _is_whole(op: Op) -> bool:
    fact = op.outputs[0]
    return fact is not None and not fact.dtype.is_floating_point and not fact.dtype.is_complex
