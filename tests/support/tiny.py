"""A model of two layers, for tests that run in a process of their own too."""

import torch
from torch import nn


def model(h=32):
    return nn.Sequential(nn.Linear(h, 2 * h), nn.GELU(), nn.Linear(2 * h, h))


def inputs(b=4, h=32):
    return (torch.zeros(b, h),)
