"""A model that cannot be analysed: what it does next hangs on a value that only a real run has.

graphmem analyze samples/data_dependent.py        exits with 2 and says which line asks for the value
"""

import torch
from torch import nn


class SkipsQuietTokens(nn.Module):
    def __init__(self, h: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(h, 4 * h), nn.Linear(4 * h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(x)
        if y.abs().mean() < 0.01:
            return x
        return x + self.down(y.relu())


def model(h: int = 512) -> nn.Module:
    return SkipsQuietTokens(h)


def inputs(b: int = 4, s: int = 128, h: int = 512) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, s, h),)
