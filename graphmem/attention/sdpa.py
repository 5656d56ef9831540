"""`F.scaled_dot_product_attention`, with the backend that the target runs."""

from __future__ import annotations

import torch

from graphmem.attention.flow import Flow
from graphmem.attention.site import Site

_aten = torch.ops.aten
_CPU_FLASH = _aten._scaled_dot_product_flash_attention_for_cpu


def find(flow: Flow) -> list[Site]:
    """One site per call. On the CPU torch chose by itself, so the operators are looked for."""
    if flow.trace.device != "cuda":
        return _on_cpu(flow)
    return [
        _site(flow, range(call.start, call.stop), call.backend, _why(call.backend, call.refused))
        for call in flow.trace.sdpa
    ]


def _why(backend: str, refused: tuple[tuple[str, str], ...]) -> str:
    if not refused:
        return f"{backend} comes first on this GPU"
    return "; ".join(f"not {name}: {reason}" for name, reason in refused)


def _site(flow: Flow, ops: range, backend: str, why: str) -> Site:
    first = flow.trace.ops[ops.start]
    return Site(
        module=flow.trace.calls[first.call].path if first.call >= 0 else "",
        kind="standard" if backend == "math" else "flash",
        kernel=f"sdpa.{backend}",
        why=why,
        place=first.place,
        ops=frozenset(ops),
    )


def _on_cpu(flow: Flow) -> list[Site]:
    return [
        _site(flow, range(op.index, op.index + 1), "flash_for_cpu", "the CPU's own flash kernel")
        for op in flow.trace.ops
        if flow.packet(op.index) is _CPU_FLASH
    ]
