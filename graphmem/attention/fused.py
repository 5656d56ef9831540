"""Attention that is a single operator: what its arguments and results are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphmem._torch import schema_of
from graphmem.attention.site import BLOCK_MASK, FLASH, LENGTHS, MASK, K, Q, Roles, Site, V
from graphmem.record import Op, Ref, references_in
from graphmem.record.flow import Flow

# Names of arguments in the schemas of such operators -> what they are.
_ARGUMENTS = {
    "query": Q, "q": Q, "key": K, "k": K, "value": V, "v": V, "qv": Q,
    "attn_bias": MASK, "attn_mask": MASK, "bias": MASK, "block_mask": BLOCK_MASK,
}  # fmt: skip


@dataclass(frozen=True)
class Fused:
    """One operator. kernel: its name in reports. outputs: what its results are, by position; why: for the report."""

    kernel: str
    outputs: Mapping[int, str]
    why: str = ""


def fused_roles(flow: Flow, op: Op, fused: Fused) -> dict[int, tuple[str, ...]]:
    """Storage -> what it is to the attention that `op` computes."""
    roles = Roles(flow.trace)
    arguments = schema_of(op.target).arguments
    named = [*zip((a.name for a in arguments), op.args, strict=False), *op.kwargs.items()]
    for name, value in named:
        part = _ARGUMENTS.get(name) or (LENGTHS if "seq" in name else None)
        if part is not None:
            roles.add(part, references_in([value]))
    for position, part in fused.outputs.items():
        if position < len(op.outputs):
            roles.add(part, [Ref(op.index, position)])
    return roles.done()


def find_operators(flow: Flow, table: Mapping[str, Fused]) -> list[Site]:
    """One site for every operator whose name is in `table`: `flash_attn._flash_attn_forward`.

    What is saved is saved by the autograd function around the operator, which is known by the first operator that ran
    in it. So all operators in a row that autograd counts as one belong to the site.
    """
    return [
        _site(flow, op, table[name])
        for op in flow.trace.ops
        if op.kind == "call" and (name := str(op.target.overloadpacket)) in table
    ]


def _site(flow: Flow, op: Op, fused: Fused) -> Site:
    ops = flow.trace.ops
    first = before = op.index
    while before > 0:  # a constant that the function makes has no sequence number
        before -= 1
        if ops[before].kind == "call":
            if ops[before].sequence != op.sequence:
                break
            first = before
    return Site(
        module=flow.trace.calls[op.call].path if op.call >= 0 else "",
        kind=FLASH,
        kernel=fused.kernel,
        why=fused.why,
        place=op.place,
        ops=frozenset(range(first, op.index + 1)),
        roles=fused_roles(flow, op, fused),
    )
