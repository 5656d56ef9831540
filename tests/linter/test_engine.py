"""Findings at several points, some of which have an analysis of their own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphmem
from graphmem.analysis.report import Report
from graphmem.linter.engine import Checker
from graphmem.linter.rule import chosen_rules


class Shifted(nn.Module):
    """Labels are shifted by slicing a padded copy: with a batch of 1 they need no copy more."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(50, 32), nn.Linear(32, 96), nn.Linear(32, 50)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        labels = F.pad(ids, (0, 1))[..., 1:].contiguous()
        y = self.attended(self.body(self.embed(ids)))
        return F.cross_entropy(self.head(y).flatten(0, -2), labels[:, : y.shape[1]].flatten())


class First(Shifted):
    """A third of what the body makes, which holds all of it."""

    def attended(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., :32]


class WrittenOut(Shifted):
    def attended(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in x.chunk(3, dim=-1))
        return ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)


def analysed(model: type[Shifted], b: int) -> Report:
    return graphmem.analyze(model().bfloat16(), (torch.zeros(b, 64, dtype=torch.int64),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "code", "measured"),
    [(First, "GM105", False), pytest.param(WrittenOut, "GM101", True, marks=pytest.mark.slow)],
)
def test_each_point_is_looked_at_in_the_analysis_that_holds_there(
    model: type[Shifted], code: str, measured: bool
) -> None:
    report = analysed(model, b=4)
    assert report.at(b=1).analysis is not report.analysis
    checker = Checker(report, chosen_rules([code], (), ()))
    (first,) = checker.findings(({"s": 128}, {"b": 1}))
    assert first.point["s"] == 128  # where it weighs most
    (alone,) = checker.findings(({"b": 1},))
    (fresh,) = Checker(analysed(model, b=1), checker.rules).findings()
    assert alone.saving is not None
    assert (alone.bytes, alone.saving, alone.measured) == (fresh.bytes, fresh.saving, measured)
