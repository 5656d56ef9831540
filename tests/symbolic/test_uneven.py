"""Sizes that were rounded wherever they were traced: what needs no rounding runs other operators."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import SymbolError
from graphmem.points import Point
from graphmem.report import Limit
from graphmem.symbolic.bounds import Uneven
from graphmem.symbolic.holds import Holds
from support.oracle import real_bytes
from support.reports import emitted
from support.slow import first_of


class Padded(nn.Module):
    """Pads heads to a multiple of 8, as flash-attn does, and only where they need it."""

    def __init__(self, h, a, d) -> None:
        super().__init__()
        self.f, self.a, self.d = nn.Linear(h, a * d), a, d

    def forward(self, x):
        y = self.f(x).unflatten(-1, (self.a, self.d)).sigmoid()
        return (nn.functional.pad(y, (0, -self.d % 8)).exp() if self.d % 8 else y).tanh()


def inputs(b=2, s=40, h=128):
    return (torch.randn(b, s, h),)


def real(module, **sizes) -> int:
    return real_bytes(module, inputs(**sizes))


def test_heads_that_need_no_padding() -> None:
    report = graphmem.analyze(lambda h=128, a=2, d=60: Padded(h, a, d), inputs, device="cpu")
    assert report.verified.exact
    assert Limit("d", not_multiple_of=8) in report.limits
    assert any("d not a multiple of 8" in note for note in report.notes)
    assert report.at(d=23).saved.bytes == real(Padded(128, 2, 23))
    with pytest.raises(SymbolError, match="d not a multiple of 8 only"):
        report.at(d=24)


@pytest.mark.slow
def test_the_emitted_function_refuses_them_too() -> None:
    report = graphmem.analyze(lambda h=128, a=2, d=60: Padded(h, a, d), inputs, device="cpu")
    saved_bytes = emitted(report)
    assert saved_bytes(**{**report.symbols, "d": 23}) == report.at(d=23).saved.bytes
    with pytest.raises(ValueError, match="not a multiple of 8"):
        saved_bytes(**{**report.symbols, "d": 24})


@pytest.mark.slow
def test_roundings_that_no_trace_tells_apart() -> None:
    """Beside h = 128 other operators run wherever floor(h/4) and floor(h/32) differ, as heads are padded there."""
    report = graphmem.analyze(lambda h=128: Padded(h, 4, h // 4), inputs, device="cpu")
    if report.verified.exact:
        assert report.analysis.derived.untold
        assert any("no trace tells which" in note for note in report.notes)
    checked = 0
    for h in (96, 127, 131, 132, 144, 160, 255, 256, 300):
        try:
            said = report.at(h=h).saved.bytes
        except SymbolError:
            continue
        assert said == real(Padded(h, 4, h // 4), h=h), h
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize("s", first_of([40, 41]))
def test_a_rounding_that_runs_alike_at_multiples_is_no_limit(s) -> None:
    class Always(nn.Module):
        def __init__(self, h) -> None:
            super().__init__()
            self.f = nn.Linear(h, h)

        def forward(self, x):
            return nn.functional.pad(self.f(x).sigmoid(), (0, 0, 0, -x.shape[1] % 8)).exp().tanh()

    report = graphmem.analyze(lambda h=128: Always(h), inputs, symbols={"s": s}, device="cpu")
    assert report.verified.exact
    for other in (48, 51):
        assert report.at(s=other).saved.bytes == real(Always(128), s=other)


def test_where_every_value_is_a_multiple_nothing_is_asked() -> None:
    """A window of 1 divides every length."""
    asked: list[Point] = []
    derived = SimpleNamespace(is_whole=lambda _: True, holds=lambda _: True, follows={})
    uneven = Uneven("s", 1, ("w",))
    holds = Holds(asked.append, derived, {"s": 64, "w": 3}, "s", (uneven,))  # type: ignore[arg-type]
    assert holds.at(64, w=1) is None
    assert not asked
    assert holds.at(66)
    assert asked == [{"s": 67, "w": 3}]
