"""F.ctc_loss on fake tensors keeps what it keeps for real, whatever its options."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphmem
from support.oracle import real_saved
from support.slow import one_of


class Recogniser(nn.Module):
    def __init__(self, reduction, zero_infinity, flat) -> None:
        super().__init__()
        self.head = nn.Linear(8, 11)
        self.options = {"reduction": reduction, "zero_infinity": zero_infinity}
        self.flat = flat

    def forward(self, x, labels):
        scores = self.head(x).log_softmax(-1).transpose(0, 1)
        there = labels >= 0
        targets = labels.masked_select(there) if self.flat else labels
        lengths = torch.full((x.shape[0],), x.shape[1])
        return F.ctc_loss(scores, targets, lengths, there.sum(-1), **self.options)


OPTIONS = list(itertools.product(("mean", "sum", "none"), (False, True), (False, True)))


@pytest.mark.parametrize(("reduction", "zero_infinity", "flat"), one_of(None, OPTIONS, lambda case: case[0]))
def test_saved_as_for_real(reduction, zero_infinity, flat) -> None:
    model = Recogniser(reduction, zero_infinity, flat)
    labels = torch.randint(1, 11, (3, 5))
    if flat:
        labels[1, 3:] = -100
    inputs = (torch.randn(3, 20, 8), labels)
    real = real_saved(model, inputs)
    assert graphmem.analyze(model, inputs, device="cpu").saved.bytes == sum(n * k for n, k in real.items())


def test_a_single_sequence() -> None:
    model, inputs = Recogniser("none", False, False), (torch.randn(1, 20, 8), torch.randint(1, 11, (1, 5)))
    model.forward = lambda x, y: F.ctc_loss(model.head(x[0]).log_softmax(-1), y[0], torch.tensor(20), torch.tensor(5))
    real = real_saved(model, inputs)
    assert graphmem.analyze(model, inputs, device="cpu").saved.bytes == sum(n * k for n, k in real.items())


def test_on_a_gpu_too() -> None:
    labels = torch.randint(1, 11, (3, 5))
    report = graphmem.analyze(Recogniser("mean", False, True), (torch.randn(3, 20, 8), labels))
    assert report.saved.bytes == 2 * 4 * 20 * 3 * 11 + 4 * 3 + 4 * 3 + 8 * 15  # scores twice, losses, lengths, targets
    assert report.verified.exact
    assert {str(s) for s in report.saved.expr.free_symbols} == {"b"}
