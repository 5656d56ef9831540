"""What the examples in the files of the kinds are made of. Each becomes a test (tests/attention/test_attention.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

B, S, HEADS, HEAD = 2, 24, 4, 16

# A function of q, k, v, each (b, heads, s, head size) and made of the input by a linear layer, and of a weight (h, h).
Example = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Examples = Mapping[str, Example]


class Attending(nn.Module):
    """An example as a module: its input is (b, s, h)."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        self.example = example
        h = HEADS * HEAD
        self.qkv, self.weight = nn.Linear(h, 3 * h), nn.Parameter(torch.randn(h, h))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)
        return self.example(q, k, v, self.weight)


def example_input() -> tuple[Tensor, ...]:
    """(b, s, h) on the meta device."""
    return (torch.empty(B, S, HEADS * HEAD, device="meta"),)
