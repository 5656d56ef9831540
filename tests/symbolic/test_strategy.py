"""What is said where the formula does not come from a few layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphmem


class Stack(nn.Module):
    """kind: what is special about it."""

    def __init__(self, h: int, depth: int, kind: str) -> None:
        super().__init__()
        self.layers, self.kind = nn.ModuleList(nn.Linear(h, h) for _ in range(depth)), kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.kind != "deep" or len(self.layers) > 5, "too few"
        for i, layer in enumerate(self.layers):
            last = i + 1 == len(self.layers)
            if self.kind == "dropped" and torch.rand([]) < 0.3 and not last:
                continue
            x = layer(x).sin().cos() if self.kind == "unlike" and i > 3 else layer(x).sin()
        return x


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("plain", None),
        ("unlike", "the layers that L counts are not alike: all of them were traced"),
        ("deep", "the model does not run with few of the layers that L counts: all of them were traced"),
        ("dropped", "a random number decides about the layers that L counts: all of them were traced"),
    ],
)
def test_why_all_layers_were_traced(kind: str, said: str | None) -> None:
    def model(h=16, L=9):
        return Stack(h, L, kind)

    def inputs(b=2, h=16):
        return (torch.randn(b, h),)

    notes = graphmem.analyze(model, inputs, device="cpu").notes
    assert [note for note in notes if "were traced" in note] == ([said] if said else [])
