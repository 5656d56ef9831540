"""Layers on top of each other."""

import torch
from torch import nn


class Stack(nn.Module):
    def __init__(self, layers) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Layer(nn.Module):
    def __init__(self, h, f) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(h, f), nn.Linear(f, h)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


def stack(h=16, f=32, L=4):
    return Stack(Layer(h, f) for _ in range(L))


def inputs(b=2, s=40, h=16):
    return (torch.randn(b, s, h),)
