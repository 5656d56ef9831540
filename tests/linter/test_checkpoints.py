"""Checkpoints put around layers and taken away: the model is traced so, and is as it was afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import graphmem
from graphmem.linter.checkpoints import with_checkpoints
from graphmem.linter.engine import check


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


@pytest.mark.slow
def test_a_layer_in_two_lists_gets_one_checkpoint() -> None:
    x = (torch.empty(8, 64, 64, device="meta"),)
    model = TwoLists()
    promised = with_checkpoints(graphmem.analyze(model, x).analysis)
    changed = graphmem.analyze(TwoLists(checkpointed=True), x)
    assert promised == changed.saved.expr
    assert changed.saved.bytes == 5 * 8 * 64 * 64 * 4  # each layer's input; the first one's is the caller's
    assert not any("forward" in vars(layer) for layer in model.encoder)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.ModuleList(nn.Linear(64, 64) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.both:
            x = x + layer(x).sigmoid()
        return x


def test_of_a_model_that_is_a_list_the_layers_are_named_and_not_what_is_inside_them() -> None:
    report = graphmem.analyze(nn.Sequential(Pair(), Pair(), Pair()), (torch.empty(8, 64, 64, device="meta"),))
    (finding,) = check(report, select=["GM402"], budget=1)
    assert finding.fix.startswith("a checkpoint around each of 0-2, or less of ")


def runs(checkpointed: Callable[[Callable[[torch.Tensor], torch.Tensor], torch.Tensor], torch.Tensor]) -> int:
    """How often a step runs what stands in the checkpoint: twice, unless the checkpoint is off."""
    calls = []

    def function(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x.sin().cos()

    checkpointed(function, torch.ones(8, requires_grad=True)).sum().backward()
    return len(calls)


@pytest.mark.parametrize("reentrant", [False, True], ids=["", "reentrant"])
def test_a_checkpoint_is_switched_off_for_one_thread(reentrant: bool) -> None:
    """Forward waits for another thread, which trains meanwhile: by the same line, since both call `checkpointed`."""
    beside: list[int] = []

    def checkpointed(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = checkpoint(function, x, use_reentrant=reentrant)
        return y

    class Trained(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            other = threading.Thread(target=lambda: beside.append(runs(checkpointed)))
            other.start()
            other.join()
            return checkpointed(torch.sigmoid, self[0](x)).sum()

    report = graphmem.analyze(Trained(nn.Linear(8, 8)), (torch.empty(4, 8, device="meta"),))
    before = len(beside)
    (finding,) = check(report, select=["GM301"])
    assert finding.rule.code == "GM301"
    assert len(beside) > before, "the model was not traced without its checkpoint"
    assert set(beside) == {2}
