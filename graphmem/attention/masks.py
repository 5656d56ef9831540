"""What a mask says, where that can be known: it then depends on positions and constants, not on an input's values."""

from __future__ import annotations

import torch

from graphmem.record import Ref, Trace, UnknownValueError

LARGEST = 2**25  # elements; a tenth of a second
_FORBIDDEN = -1e4  # what is added to scores that must not count is far below that


def is_causal(mask: Ref, trace: Trace, *, either: bool = False) -> bool | None:
    """Whether a mask lets position i see positions up to i, and no others: True or 0 where it may look. None where its
    value is not known, or too large to look at.

    Args:
        either: a boolean mask may also say the reverse, as for masked_fill.
    """
    fact = trace.fact(mask)
    if fact is None or len(fact.shape) < 2 or fact.shape[-1] != fact.shape[-2] or fact.shape[-1] < 2:
        return False
    if torch.Size(fact.shape).numel() > LARGEST or _asks_inputs(mask, trace):
        return None
    try:
        value = trace.value(mask)
    except (UnknownValueError, RuntimeError):
        return None
    causal = torch.ones(value.shape[-2:], dtype=torch.bool).tril()
    if value.dtype == torch.bool:
        return bool((value == causal).all()) or (either and bool((value != causal).all()))
    return bool(((value == 0) == causal).all() and (value[..., ~causal] <= _FORBIDDEN).all())


def _asks_inputs(mask: Ref, trace: Trace) -> bool:
    """Whether it depends on the values of an input, which differ from batch to batch."""
    return any(op.kind == "input" for op in trace.behind([mask.op]))
