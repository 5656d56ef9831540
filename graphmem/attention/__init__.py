"""Standard or flash: every attention of a trace, found by its dataflow.

One file per kind. Each has a `find(flow)` that returns the sites of its kind; KINDS lists them, the surest first.

    site.py      one attention that was found
    softmax.py   the kind that is written out; products.py says what the operators around it are to it
    masks.py     whether a mask is causal and nothing else
    fused.py     attention that is a single operator, for the other kinds
    example.py   what the examples in the files of the kinds are made of

    call.py      the call of a fused kernel that could stand in a site's place: tensors, masks, facts
    instead.py   what that call would keep, as an expression: the report's advice. The linter measures it
                 (linter/fused.py)
"""

from __future__ import annotations

from graphmem.attention import flash_attn, flex, sdpa, softmax, varlen, xformers
from graphmem.attention.site import PARTS, Operands, Site
from graphmem.record import Trace
from graphmem.record.flow import Flow

KINDS = (sdpa, flash_attn, flex, varlen, xformers, softmax)

__all__ = ["KINDS", "PARTS", "Operands", "Site", "find_attention"]


def find_attention(trace: Trace) -> list[Site]:
    """All attentions in the order in which they run."""
    flow = Flow(trace)
    found: list[Site] = []
    for kind in KINDS:
        taken = {op for site in found for op in site.ops}
        found += [site for site in kind.find(flow) if not taken & site.ops]
    return sorted(found, key=lambda site: min(site.ops))
