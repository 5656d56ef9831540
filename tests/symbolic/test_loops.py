"""Loops over positions or blocks of them: as many turns as the input is long, in one formula."""

import pytest
import torch
from torch import nn

import graphmem
from graphmem.accounts.saved import SAVED, sort_storages
from graphmem.how import read_how
from graphmem.symbolic.loops import Looped
from graphmem.trace import trace


class Scan(nn.Module):
    """A state that goes from position to position."""

    def __init__(self, h) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(h, h), nn.Linear(h, h)

    def forward(self, x):
        state, states = torch.zeros_like(x[:, 0]), []
        for i in range(x.shape[1]):
            state = torch.tanh(state * 0.9 + self.inner(x[:, i]))
            states.append(state)
        return self.out(torch.stack(states, dim=1))


class Blocks(nn.Module):
    """Blocks of 16 positions, padded, each with what the blocks before left behind."""

    size = 16

    def __init__(self, h) -> None:
        super().__init__()
        self.inner = nn.Linear(h, h)

    def forward(self, x):
        b, s, h = x.shape
        pad = -s % self.size
        parts = self.inner(nn.functional.pad(x, (0, 0, 0, pad))).view(b, -1, self.size, h)
        carried, out = torch.zeros_like(parts[:, 0]), []
        for i in range(parts.shape[1]):
            carried = torch.sigmoid(parts[:, i]) * carried + parts[:, i]
            out.append(carried.exp())
        return torch.cat(out, dim=1)[:, :s].tanh()


class WholeBlocks(Blocks):
    """The same, but what does not fill a block is left out."""

    def forward(self, x):
        return super().forward(x[:, : x.shape[1] // self.size * self.size])


class Prefixes(nn.Module):
    """Every block looks at all before it: no two turns are alike."""

    def forward(self, x):
        return sum((x[:, : 8 * (i + 1)] * 2).sigmoid().sum() for i in range(x.shape[1] // 8))


def stack(kind):
    def model(h=16, L=3):
        return nn.Sequential(*[kind(h) for _ in range(L)])

    return model


def inputs(b=2, s=40, h=16):
    return (torch.randn(b, s, h, requires_grad=True),)


def traced(kind, *, L, **sizes):
    record = trace(stack(kind)(L=L, h=sizes["h"]), inputs(**sizes), read_how({"gpu": "h100"}))
    return sum(k.nbytes for k in sort_storages(record) if k.table == SAVED)


ELSEWHERE = [
    {"b": 3, "s": 100, "h": 16, "L": 3}, {"b": 2, "s": 64, "h": 8, "L": 2}, {"b": 1, "s": 333, "h": 24, "L": 5},
]  # fmt: skip


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) for k in (Scan, WholeBlocks)] + [Blocks])
def test_a_loop_is_in_the_formula(kind) -> None:
    report = graphmem.analyze(stack(kind), inputs)
    assert report.verified.exact
    assert set(report.symbols) == {"b", "s", "h", "L"}
    assert report.saved.bytes == traced(kind, b=2, s=40, h=16, L=3)
    for point in ELSEWHERE:
        assert report.at(**point).saved.bytes == traced(kind, **point), point


@pytest.mark.slow
def test_rows_count_the_turns() -> None:
    report = graphmem.analyze(stack(Scan), inputs)
    tanh = next(n for n in report.nodes if n.op == "aten.tanh.default")
    assert tanh.count in (3 * 40, 3 * 39)  # the last state may be kept by another line's node
    there = report.at(s=100, L=5)
    assert sum(n.count * n.each_bytes for n in there.nodes) == there.saved.bytes
    layer = next(m for m in there.modules if m.count == 5 and m.each is not None)
    assert layer.size.bytes == 5 * layer.each.subs({x: there.symbols[x.name] for x in layer.each.free_symbols})


@pytest.mark.slow
def test_turns_that_grow_have_no_formula_and_that_is_said() -> None:
    def model():
        return Prefixes()

    report = graphmem.analyze(model, lambda b=2, s=40: (torch.randn(b, s, 4, requires_grad=True),))
    assert "s" not in report.symbols
    assert report.verified.exact  # over b
    assert any("the formula is for s=40 only" in note for note in report.notes)


@pytest.mark.slow
def test_a_long_input_costs_what_a_short_one_does(monkeypatch) -> None:
    import graphmem.analysis.tracer as tracer

    operators = []
    original = tracer.trace

    def counted(*args, **kwargs):
        record = original(*args, **kwargs)
        operators.append(len(record.ops))
        return record

    monkeypatch.setattr(tracer, "trace", counted)
    report = graphmem.analyze(stack(Scan), inputs, symbols={"s": 20_000})
    assert max(operators) < 20_000
    assert report.verified.exact
    assert any("s=20000: extrapolated from s=24, checked at s=300" in note for note in report.notes)
    assert report.saved.bytes == graphmem.analyze(stack(Scan), inputs).at(s=20_000).saved.bytes


class Drops(nn.Module):
    """Layers that are skipped at random, with a rate."""

    def __init__(self, h, depth, rate) -> None:
        super().__init__()
        self.rate = rate
        self.layers = nn.ModuleList(nn.Linear(h, h) for _ in range(depth))

    def forward(self, x):
        for layer in self.layers:
            if self.training and torch.rand([]) < self.rate:
                continue
            x = layer(x).tanh()
        return x


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_draw_matters_only_where_it_decides(rate) -> None:
    report = graphmem.analyze(lambda h=16, L=9: Drops(h, L, rate), inputs)
    assert ("L" in report.symbols) == (rate == 0)
    assert any("random number" in note for note in report.notes) == (rate > 0)


@pytest.mark.slow
def test_turns_that_cannot_be_counted_leave_the_length_as_it_is(monkeypatch) -> None:
    original = Looped.counts
    monkeypatch.setattr(Looped, "counts", lambda self, deeper: None if self.loops else original(self, deeper))
    report = graphmem.analyze(lambda h=16: Scan(h), lambda b=2, s=12, h=16: (torch.randn(b, s, h),))
    assert report.verified.exact
    assert {"b", "h"} <= set(report.symbols)
    assert "s" not in report.symbols
    assert any("the formula is for s=12 only" in note for note in report.notes)
