"""One layer in place of two: what that spares, and what it must not get wrong."""

import pytest
import torch
from torch import nn

import graphmem
from graphmem.accounts.saved import sort_storages
from graphmem.analysis.tracer import Tracer
from graphmem.how import read_how
from graphmem.load.factories import from_factories
from graphmem.symbolic.align import Base
from graphmem.symbolic.single import Single
from support.oracle import real_saved
from support.stacks import Layer, Stack, inputs, stack


class FirstIsSpecial(Stack):
    """A table is made in the first layer and used in all, as T5's bias is."""

    def forward(self, x):
        table = x.new_zeros(x.shape[1], x.shape[1]).exp()
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = (table @ x).sigmoid() if i == 0 else x.tanh()
        return x


class Cut(Stack):
    """From the second layer on, what is kept is cut off at a length."""

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            y = layer(x).sigmoid()
            x = y[:, :7].clone().exp().sum(1, keepdim=True) + x if i else y
        return x


def first_is_special(h=16, f=32, L=4):
    return FirstIsSpecial(Layer(h, f) for _ in range(L))


def cut(h=16, f=32, L=4):
    return Cut(Layer(h, f) for _ in range(L))


class TwoStreams(nn.Module):
    """A long and a short input, through the same layers in pieces; the last sum is kept by nobody."""

    def __init__(self, h: int, n: int, L: int) -> None:
        super().__init__()
        self.one, self.two, self.n = nn.Linear(h, h), nn.Linear(h, h), n
        self.layers = nn.ModuleList(nn.Linear(h, h) for _ in range(L))

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        x, c = self.one(x), self.two(c)
        for layer in self.layers:
            x, c = (y + torch.cat([layer(part) for part in y.split(self.n, 1)], 1) for y in (x, c))
        return (x.sum() + c.sum()).exp()


def test_a_layer_that_keeps_less_stands_for_none() -> None:
    """What several layers keep has a counterpart in it, which it does not keep."""

    def model(h: int = 16, n: int = 8, L: int = 2) -> nn.Module:
        return TwoStreams(h, n, L)

    def two(b: int = 2, s: int = 8, t: int = 32, h: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(b, s, h), torch.randn(b, t, h)

    subject = from_factories(model, two, name="two", settings={})
    tracer = Tracer(subject, read_how({}))
    whole = Base(tracer(subject.symbols), sort_storages)
    assert Single.of(whole, tracer({**subject.symbols, "L": 1})) is None


POINTS = [{"h": 32, "f": 8, "s": 64}, {"b": 5, "h": 48}, {"s": 100, "f": 96}, {"L": 6}, {"L": 9, "f": 24}]


@pytest.mark.slow
@pytest.mark.parametrize("model", [stack, first_is_special, cut])
def test_the_formula_is_right_for_all_layers(model) -> None:
    report = graphmem.analyze(model, inputs, device="cpu")
    assert report.verified.exact
    for point in POINTS:
        if set(point) <= set(report.symbols):
            sizes = {n: v for n, v in point.items() if n in ("b", "s", "h")}
            real = real_saved(model(**{n: v for n, v in point.items() if n in "hfL"}), inputs(**sizes))
            assert report.at(**point).saved.bytes == sum(size * n for size, n in real.items()), point


def in_proportion(base, moved, model_symbols, *, loops=(), full=(), near=False):
    for factor in (2, 3, 4, 5, 6):
        yield {n: v * factor if n in moved else v for n, v in base.items()}


@pytest.mark.slow
@pytest.mark.parametrize("f", [16, 32, 64])
@pytest.mark.parametrize("kept", [True, False])
def test_sizes_that_are_the_same_by_chance_are_told_apart(f, kept, monkeypatch) -> None:
    """With f = h layers look alike, with f = 2h or 4h one keeps f where the other keeps 2h or 4h. kept: also where all
    held-out points happen to be as the base is."""
    if kept:
        monkeypatch.setattr("graphmem.symbolic.probes.held_out", in_proportion)

    def model(h=16, f=f, L=4):
        return Stack(Layer(h, f) if i % 2 == 0 else Layer(h, h * (f0 // 16)) for i in range(L))

    f0 = f
    report = graphmem.analyze(model, inputs, device="cpu")
    assert report.saved.bytes == sum(size * n for size, n in real_saved(model(), inputs()).items())
    in_formula = {"h", "f"} & {*report.symbols}  # for one h and one f the layers are alike
    assert not report.verified.exact or "L" not in report.symbols or not in_formula
    if report.verified.exact and in_formula:
        real = real_saved(model(h=48, f=96), inputs(h=48))
        assert report.at(h=48, f=96).saved.bytes == sum(size * n for size, n in real.items())


def test_what_is_moved_is_traced_with_one_layer(monkeypatch) -> None:
    traced = []
    original = Tracer.__call__
    monkeypatch.setattr(Tracer, "__call__", lambda self, point: traced.append(dict(point)) or original(self, point))
    assert graphmem.analyze(stack, inputs).verified.exact
    several = {tuple(sorted(point.items())) for point in traced if point["L"] > 1}
    assert len(several) == 4  # two layers, three, all of the four, and one point that was held out
    assert len({tuple(sorted(point.items())) for point in traced}) > 2 * len(several)
