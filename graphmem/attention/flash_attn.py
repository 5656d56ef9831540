"""The flash-attn packages: 2.x (flash_attn), 3 (flash_attn_interface) and 4 (flash_attn.cute)."""

from __future__ import annotations

import torch
from torch import Tensor

from graphmem.attention.example import Examples, S
from graphmem.attention.fused import Fused, find_operators
from graphmem.attention.site import LSE, OUTPUT, PROBABILITIES, RNG, Site
from graphmem.record.flow import Flow

# Outputs as the packages' fake kernels return them; of version 4, which has no operators, as graphmem's stand-in does.
_TABLE = {
    "flash_attn._flash_attn_forward": Fused("flash_attn", {0: OUTPUT, 1: LSE, 3: RNG}, "flash_attn is called"),
    "flash_attn._flash_attn_varlen_forward": Fused(
        "flash_attn", {0: OUTPUT, 1: LSE, 3: RNG}, "flash_attn is called, with sequences one after the other"
    ),
    "flash_attn_3._flash_attn_forward": Fused("flash_attn_3", {0: OUTPUT, 1: LSE}, "flash_attn_interface is called"),
    "flash_attn_4._flash_attn_forward": Fused(
        "flash_attn_4", {0: OUTPUT, 1: LSE, 2: PROBABILITIES, 3: LSE}, "flash_attn.cute is called"
    ),
}


def find(flow: Flow) -> list[Site]:
    """One site per call."""
    return find_operators(flow, _TABLE)


# -- examples ----------------------------------------------------------------------------------------------------------


def _half(*tensors: Tensor) -> list[Tensor]:
    """(b, s, heads, head size), as flash-attn takes it."""
    return [t.transpose(1, 2).bfloat16() for t in tensors]


def _plain(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from flash_attn import flash_attn_func

    return flash_attn_func(*_half(q, k, v), causal=True)  # type: ignore[no-any-return]


def _packed(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from flash_attn import flash_attn_qkvpacked_func

    return flash_attn_qkvpacked_func(torch.stack(_half(q, k, v), dim=2))  # type: ignore[no-any-return]


def _lengths(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    starts = torch.tensor([0, S, 2 * S], dtype=torch.int32, device=q.device)
    flat = [t.flatten(0, 1) for t in _half(q, k, v)]
    return flash_attn_varlen_func(*flat, starts, starts, S, S)  # type: ignore[no-any-return]


def _padded_head(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from flash_attn import flash_attn_func

    return flash_attn_func(*(t[..., :12] for t in _half(q, k, v)))  # type: ignore[no-any-return]


def _version_3(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from flash_attn_interface import flash_attn_func

    return flash_attn_func(*_half(q, k, v))  # type: ignore[no-any-return]


def _version_4(q: Tensor, k: Tensor, v: Tensor, _w: Tensor) -> Tensor:
    from flash_attn.cute import flash_attn_func

    return flash_attn_func(*_half(q, k, v))[0]  # type: ignore[no-any-return]


GOOD: Examples = {
    "plain": _plain,
    "packed": _packed,
    "lengths": _lengths,
    "head size 12, padded": _padded_head,
    "version 3": _version_3,
    "version 4": _version_4,
}
BAD: Examples = {"written out": lambda q, k, v, w: (q @ k.mT).softmax(-1) @ v}
