"""A deep graph is freed without ending the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

DEEP = """
import threading, torch
from torch import nn
import graphmem

class Net(nn.Module):
    def __init__(self, h, L):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(h, h) for _ in range(L))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x.view(-1, 8)).view(x.shape).transpose(1, 2).relu().transpose(1, 2)
        return x

def model(h=8, L=2500):
    return Net(h, L)

def inputs(b=2, s=8, h=8):
    return (torch.randn(b, s, h),)

def run():
    print(graphmem.analyze(model, inputs, full_depth=True).saved.bytes)

threading.stack_size(2**20)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


@pytest.mark.slow
def test_a_graph_that_is_deeper_than_the_stack() -> None:
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, f"{(2 * 2500 - 1) * 4 * 2 * 8 * 8}\n"), done.stderr[-2000:]
