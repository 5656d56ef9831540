"""Checkpoints put around layers and taken away: the model is traced so, and is as it was afterwards."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import graphmem
from graphmem.linter.checkpoints import with_checkpoints


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(64, 256), nn.Linear(256, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.down(F.gelu(self.up(x)))
        return y


class TwoLists(nn.Module):
    """The same layers in two lists, as encoder and decoder that share their weights."""

    def __init__(self, checkpointed: bool = False) -> None:
        super().__init__()
        layers = [Block() for _ in range(3)]
        self.encoder, self.decoder, self.checkpointed = nn.ModuleList(layers), nn.ModuleList(layers), checkpointed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in (*self.encoder, *self.decoder):
            x = checkpoint(layer, x, use_reentrant=False) if self.checkpointed else layer(x)
        return x.sum()


def test_a_layer_in_two_lists_gets_one_checkpoint() -> None:
    x = (torch.empty(8, 64, 64, device="meta"),)
    model = TwoLists()
    promised = with_checkpoints(graphmem.analyze(model, x).analysis)
    changed = graphmem.analyze(TwoLists(checkpointed=True), x)
    assert promised == changed.saved.expr
    assert changed.saved.bytes == 5 * 8 * 64 * 64 * 4  # each layer's input; the first one's is the caller's
    assert not any("forward" in vars(layer) for layer in model.encoder)
