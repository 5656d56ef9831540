"""`torch.nn.attention.varlen.varlen_attn`: sequences of different lengths, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from graphmem.attention.example import Examples, S
from graphmem.attention.fused import Fused, find_operators
from graphmem.attention.site import LSE, OUTPUT, RNG, Site
from graphmem.record.flow import Flow

_TABLE = {"torch_attn._varlen_attn": Fused("varlen", {0: OUTPUT, 1: LSE, 2: RNG}, "varlen_attn is called")}


def find(flow: Flow) -> list[Site]:
    """One site per call."""
    return find_operators(flow, _TABLE)


# -- examples ----------------------------------------------------------------------------------------------------------


def _packed(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (t.transpose(1, 2).flatten(0, 1).bfloat16() for t in (q, k, v))
    lengths = torch.tensor([0, S, 2 * S], dtype=torch.int32, device=q.device)
    return varlen_attn(q, k, v, lengths, lengths, S, S)  # type: ignore[return-value]


GOOD: Examples = {"packed": _packed}
BAD: Examples = {"written out": lambda q, k, v, w: (q @ k.mT).softmax(-1) @ v}
