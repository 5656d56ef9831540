"""Rows that an embedding does not have: torch raises, fake mode looks up any, and a model would seem to have positions
without end."""

from __future__ import annotations

import torch

from graphmem.trace.record import Op, Ref, Trace
from graphmem.trace.values import Values, elements, is_drawn

# Positions of the longest inputs, but no matrix of them.
LIMIT = 2**20
# Ids themselves are looked up as they are, or as views: only what is worked out from them is asked for.
_VIEWS = 3


def check_lookup(trace: Trace, values: Values, index: Ref, rows: int) -> None:
    """Raise where torch would, as far as sizes, constants and padding decide.

    Raises:
        IndexError: an element of `index` is none of so many rows.
        RuntimeError: `index` is none, which the fake mode of 2.11 does not mind.
    """
    fact = trace.ops[index.op].outputs[index.output]
    if fact is not None and fact.dtype not in (torch.int64, torch.int32):
        raise RuntimeError(f"Expected indices of an embedding to be Long or Int, but they are {fact.dtype}")
    behind = values.behind(index)
    if any(is_drawn(op) or not 0 < elements(op) <= LIMIT for op in behind):
        return
    if any(op.kind == "input" for op in behind) and not (len(behind) > _VIEWS and _few_ids(trace, values)):
        return
    asked = values.extremes(index)
    if asked is not None and not 0 <= asked[0] <= asked[1] < rows:
        error = IndexError(f"rows {asked[0]} to {asked[1]} of an embedding that has {rows}")
        error.graphmem_hint = "shorter inputs, or more positions in the model's config"  # type: ignore[attr-defined]
        raise error


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
