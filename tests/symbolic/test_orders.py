"""Orders: which of two sizes has to be the larger one for the formula to hold."""

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import SymbolError
from graphmem.report import Limit
from graphmem.symbolic.orders import _rows
from support.oracle import real_saved
from support.reports import emitted


@pytest.mark.parametrize("count", range(2, 11))
def test_every_cluster_is_once_up_where_another_one_is_down(count) -> None:
    clusters = [[chr(97 + i)] for i in range(count)]
    rows = list(_rows(clusters, dict.fromkeys("abcdefghij", 512)))
    assert len(rows) <= 5
    for (one,), (other,) in ((x, y) for x in clusters for y in clusters if x != y):
        assert any(row[one] > 512 > row[other] for row in rows)


class Narrow(nn.Module):
    """A width that is the smaller of two sizes, and one that is the larger of two."""

    def __init__(self, h, f, d) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(h, min(h, f)), nn.Linear(h, max(h, 4 * d))
        self.mlp, self.heads = nn.Linear(h, f), nn.Linear(h, d)

    def forward(self, x):
        return sum(m(x).sigmoid().sum() for m in (self.low, self.high, self.mlp, self.heads))


def sequences(b=2, s=40, h=64):
    return (torch.randn(b, s, h),)


def same(report, module, tensors, **point) -> bool:
    """Whether the report says at a point what real autograd keeps there."""
    return report.at(**point).saved.bytes == sum(size * n for size, n in real_saved(module, tensors).items())


@pytest.mark.slow
def test_the_smaller_and_the_larger_of_two_sizes() -> None:
    report = graphmem.analyze(lambda h=64, f=256, d=4: Narrow(h, f, d), sequences, device="cpu")
    assert report.verified.exact
    assert Limit("h", most=256, by="f") in report.limits
    assert Limit("d", most=16, by="h", times="1/4") in report.limits
    for f, d in ((64, 16), (65, 15), (1000, 2)):
        assert same(report, Narrow(64, f, d), sequences(), f=f, d=d)
    assert same(report, Narrow(128, 128, 32), sequences(h=128), h=128, f=128, d=32)
    for point, most in (({"f": 63}, 63), ({"h": 512}, 256)):
        with pytest.raises(SymbolError, match=rf"h <= {most} \(f\)"):
            report.at(**point)
    for point, most in (({"d": 17}, 16), ({"h": 48, "d": 13}, 12)):
        with pytest.raises(SymbolError, match=rf"d <= {most} \(h/4\)"):
            report.at(**point)


@pytest.mark.slow
def test_the_limit_in_the_emitted_function() -> None:
    report = graphmem.analyze(lambda h=64, f=256, d=4: Narrow(h, f, d), sequences, device="cpu")
    saved_bytes = emitted(report)
    sizes = {**report.symbols, "d": 13}
    assert saved_bytes(**sizes) == report.at(d=13).saved.bytes
    with pytest.raises(ValueError, match="d <= h/4 only"):
        saved_bytes(**{**sizes, "h": 48})


class Remembering(nn.Module):
    """Attends to as many positions of a memory as the input has."""

    def __init__(self, h) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(h, h), nn.Linear(h, h)

    def forward(self, x, memory):
        k = self.k(memory[:, : x.shape[1]])
        return (self.q(x) @ k.transpose(1, 2)).softmax(-1) @ k


class Recent(nn.Module):
    """Attends to as many of the last positions as a memory has."""

    def __init__(self, h) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(h, h), nn.Linear(h, h)

    def forward(self, x, memory):
        recent = self.k(self.q(x)[:, -memory.shape[1] :])
        return recent.tanh().sum() + self.k(memory).tanh().sum()


def two(b=2, s=40, m=90, h=16):
    return torch.randn(b, s, h), torch.randn(b, m, h)


def test_an_input_that_has_to_be_shorter_than_another() -> None:
    report = graphmem.analyze(lambda h=16: Remembering(h), two, device="cpu")
    assert report.verified.exact
    assert Limit("s", most=89, by="m", beside=-1) in report.limits
    for sizes in ({"s": 89}, {"m": 41}, {"s": 300, "m": 301}):
        assert same(report, Remembering(16), two(**sizes), **sizes)
    for sizes in ({"s": 90}, {"m": 40}, {"m": 13}, {"s": 300, "m": 300}):
        with pytest.raises(SymbolError, match=r"\(m - 1\)"):
            report.at(**sizes)


@pytest.mark.slow
def test_an_input_that_has_to_be_longer_than_one_of_an_eighth() -> None:
    report = graphmem.analyze(lambda h=16: Recent(h), two, symbols={"s": 640, "m": 48}, device="cpu")
    assert report.verified.exact
    for sizes in ({"s": 49}, {"m": 600}, {"s": 60, "m": 50}):
        assert same(report, Recent(16), two(**{"s": 640, "m": 48, **sizes}), **sizes)
    for sizes in ({"s": 37}, {"m": 700}):
        with pytest.raises(SymbolError, match=r"\(m"):
            report.at(**sizes)
