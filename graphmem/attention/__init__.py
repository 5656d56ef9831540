"""Standard or flash: every attention of a trace, found by its dataflow.

One file per kind. Each has a `find(flow)` that returns the sites of its kind; KINDS lists them.
"""

from __future__ import annotations

from graphmem.attention import eager, sdpa
from graphmem.attention.flow import Flow
from graphmem.attention.site import Site
from graphmem.trace.record import Trace

KINDS = (sdpa.find, eager.find)

__all__ = ["Site", "find_attention"]


def find_attention(trace: Trace) -> list[Site]:
    """All attentions in the order in which they run."""
    flow = Flow(trace)
    found: list[Site] = []
    for find in KINDS:
        taken = {op for site in found for op in site.ops}
        found += [site for site in find(flow) if not taken & site.ops]
    return sorted(found, key=lambda site: min(site.ops))
