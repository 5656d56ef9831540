"""Bounds: the lengths within which a formula holds, and what is said beyond."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import SymbolError
from graphmem.report import Limit
from graphmem.symbolic.bounds import Bound, Moving, Multiple, said_of
from graphmem.symbolic.edges import _last
from graphmem.symbolic.text import formula
from support.oracle import real_bytes, real_saved
from support.slow import first_of


@pytest.mark.parametrize("limit", [4095, 4096, 4097, 5000, 8192, 3110, 23_900])
def test_a_limit_is_found_and_a_round_one_soon(limit) -> None:
    asked = []

    class Holds:
        def at(self, value):
            asked.append(value)
            return value <= limit

    assert _last(Holds(), 3109, 23_917, 1) == limit
    assert len(asked) <= (4 if limit in (4095, 4096, 8192) else 25)


@pytest.mark.parametrize("step", [1, 8])
def test_any_limit_is_found_from_both_sides(step) -> None:
    for limit in range(21 * step, 90 * step, step):
        assert _last(SimpleNamespace(at=limit.__ge__), 20, 90, step) == limit
        assert _last(SimpleNamespace(at=limit.__le__), 90, 20, step) == limit


def test_where_a_bound_keeps_out_and_what_it_says() -> None:
    point = {"s": 99, "P": 100}
    most, least = Bound("s", 49, up=True, moving=Moving(("P",), beside=-1)), Bound("s", 2, up=False)
    assert [most.keeps_out({**point, "s": s}) for s in (98, 99, 100)] == [False, False, True]
    assert [least.keeps_out({"s": s}) for s in (1, 2, 3)] == [True, False, False]
    assert (most.text(point), most.text({})) == ("s <= 99 (P - 1)", "s <= 49 (P - 1)")
    assert least.from_two
    assert not any(b.from_two for b in (most, Bound("s", 3, up=False), Bound("s", 2, up=True)))
    eight = Multiple("s", 8)
    assert [eight.keeps_out({"s": s}) for s in (8, 9, 16)] == [False, True, False]
    refused = least._replace(refused=True)
    assert said_of([least, eight]).endswith("s >= 2, s a multiple of 8; elsewhere other sizes are kept")
    assert said_of([least, refused]).endswith("elsewhere other sizes are kept, or the model raises an error")
    assert said_of([refused]).endswith("elsewhere the model raises an error")


class Window(nn.Module):
    """Keeps the last `window` positions of an activation."""

    def __init__(self, h, window) -> None:
        super().__init__()
        self.f, self.window = nn.Linear(h, h), window

    def forward(self, x):
        y = self.f(x).sigmoid()
        return y[:, -self.window :].clone().tanh()


def windowed(h=16, window=100):
    return Window(h, window)


def plain(h=16, window=100):
    return nn.Sequential(nn.Linear(h, h), nn.Tanh())


def inputs(b=2, s=60, h=16):
    return (torch.randn(b, s, h),)


def kept(h=16, window=100, **sizes):
    return graphmem.analyze(windowed(h, window), inputs(h=h, **sizes)).saved.bytes


@pytest.mark.slow
def test_shorter_than_the_window() -> None:
    report = graphmem.analyze(windowed, inputs)
    assert report.verified.exact
    assert "min(s, window)" in formula(report.saved.expr, report.symbols)
    for s, window in ((1, 100), (100, 100), (101, 100), (500, 64), (64, 500)):
        assert report.at(s=s, window=window).saved.bytes == kept(b=2, s=s, window=window)


@pytest.mark.slow
def test_longer_than_the_window() -> None:
    report = graphmem.analyze(windowed, inputs, symbols={"s": 400})
    assert report.verified.exact
    assert {"s", "window"} <= set(report.symbols)
    assert any("s >= 100 (window)" in note for note in report.notes)
    (limit,) = report.to_dict()["limits"]
    own = {"symbol": "s", "least": 100, "most": None, "multiple_of": None, "refused": False}
    none = {"equals": None, "not_multiple_of": None, "not_equals": None}
    assert limit == {**own, "by": "window", "beside": 0, "times": "1", **none}
    assert report.at(window=50).limits == (Limit("s", least=50, by="window"),)
    assert report.at(s=3000, b=1).saved.bytes == kept(b=1, s=3000)
    assert report.at(s=60, window=50).saved.bytes == kept(b=2, s=60, window=50)
    assert any("s >= 50 (window)" in note for note in report.at(window=50).notes)
    for elsewhere, least in (({"s": 99}, 100), ({"s": 300, "window": 350}, 350)):
        with pytest.raises(SymbolError, match=rf"s >= {least} \(window\)"):
            report.at(**elsewhere)


class Cut(nn.Module):
    """What is longer than 100 goes another way."""

    def __init__(self, h) -> None:
        super().__init__()
        self.f = nn.Linear(h, h)

    def forward(self, x):
        y = self.f(x).sigmoid()
        return y.tanh() if x.shape[1] > 2000 else y


@pytest.mark.slow
def test_a_bound_that_is_no_size_of_the_model() -> None:
    report = graphmem.analyze(lambda h=16: Cut(h), inputs, symbols={"s": 500})
    assert report.verified.exact
    assert any("s <= 2000;" in note for note in report.notes)
    assert report.limits == (Limit("s", most=2000),)
    with pytest.raises(SymbolError, match="s <= 2000 only"):
        report.solve("s", budget="1GiB")


class Padded(nn.Module):
    """Lengths that are no multiple of 8 are padded, as the efficient kernel pads a mask."""

    def __init__(self, h) -> None:
        super().__init__()
        self.f = nn.Linear(h, h)

    def forward(self, x):
        y = self.f(x).sigmoid()
        over = -x.shape[1] % 8
        return y.tanh() if over == 0 else nn.functional.pad(y, (0, 0, 0, over)).exp().tanh()


@pytest.mark.slow
def test_a_formula_for_multiples_of_eight() -> None:
    report = graphmem.analyze(lambda h=16: Padded(h), inputs, symbols={"s": 512})
    assert report.verified.exact
    assert report.limits == (Limit("s", multiple_of=8),)
    assert any("s a multiple of 8" in note for note in report.notes)
    assert not any("s >=" in note or "s <=" in note for note in report.notes)
    assert report.at(s=64).saved.bytes == graphmem.analyze(Padded(16), inputs(s=64)).saved.bytes
    with pytest.raises(SymbolError, match="s a multiple of 8"):
        report.at(s=513)


def test_no_window_no_bound() -> None:
    report = graphmem.analyze(plain, inputs)
    assert not any("holds for" in note for note in report.notes)
    assert report.at(s=123_456).saved.bytes == 123_456 * 2 * 16 * 4


class Table(nn.Module):
    """Keeps a table that is as long as a limit, or as the input where that is longer."""

    def __init__(self, h) -> None:
        super().__init__()
        self.f = nn.Linear(h, h)

    def forward(self, x):
        table = x.new_ones(max(512, x.shape[1]), 1).exp()
        return self.f(x).sigmoid() * table[: x.shape[1]]


@pytest.mark.slow
def test_held_out_points_that_are_too_long_are_taken_nearer() -> None:
    report = graphmem.analyze(lambda h=16: Table(h), inputs, symbols={"s": 300})
    assert report.verified.exact
    assert Limit("s", most=512) in report.limits
    assert report.at(s=512).saved.bytes == graphmem.analyze(Table(16), inputs(s=512)).saved.bytes


class Next(nn.Module):
    """Each position foretells the next: two of them leave one, which is contiguous as it is."""

    def __init__(self, h) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(50, h), nn.Linear(h, 50)

    def forward(self, ids):
        logits = self.head(self.embed(ids))
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.slow
def test_the_least_length() -> None:
    def tokens(b=2, s=40):
        return (torch.randint(50, (b, s)),)

    report = graphmem.analyze(lambda h=16: Next(h), tokens, device="cpu")
    assert Limit("s", least=3) in report.limits
    with pytest.raises(SymbolError, match="s >= 3 only"):
        report.at(s=2)
    for sizes in ({"b": 64, "s": 3}, {"b": 1, "s": 5}):
        real = real_saved(Next(16), tokens(**sizes))
        assert report.at(**sizes).saved.bytes == sum(size * n for size, n in real.items())


class Heads(nn.Module):
    """One head is no copy."""

    def __init__(self, h, a) -> None:
        super().__init__()
        self.f, self.a = nn.Linear(h, h), a

    def forward(self, x):
        y = self.f(x).unflatten(-1, (self.a, -1)).transpose(1, 2).tanh()
        return (y.reshape(-1, *y.shape[2:]).exp() * 2).sum() + y.transpose(1, 2).flatten(2).exp().sum()


@pytest.mark.parametrize("a", first_of([1, 4]))
def test_a_single_head_has_a_formula_of_its_own(a) -> None:
    report = graphmem.analyze(lambda h=16, a=a: Heads(h, a), inputs, device="cpu")
    for n in (1, 2, 8):
        real = real_saved(Heads(16, n), inputs(s=33))
        assert report.at(a=n, s=33).saved.bytes == sum(size * k for size, k in real.items()), n


class Learned(nn.Module):
    """Has 64 learned positions and no more."""

    def __init__(self, h) -> None:
        super().__init__()
        self.positions, self.f = nn.Embedding(64, h), nn.Linear(h, h)

    def forward(self, x):
        return self.f(x + self.positions(torch.arange(x.shape[1], device=x.device))).tanh()


@pytest.mark.parametrize("s", first_of([24, 48, 64]))
def test_no_more_positions_than_the_model_has(s) -> None:
    report = graphmem.analyze(lambda h=16: Learned(h), lambda b=2, s=s, h=16: (torch.randn(b, s, h),))
    assert report.verified.exact
    assert report.limits == (Limit("s", most=64, refused=True),)
    assert "s <= 64; elsewhere the model raises an error" in report.notes[-1]
    assert report.at(s=64).saved.bytes == sum(
        n * k for n, k in real_saved(Learned(16), (torch.randn(2, 64, 16),)).items()
    )
    with pytest.raises(SymbolError, match="the model accepts s <= 64"):
        report.at(s=65)
    assert report.solve("s", budget="1GiB") == 64
    assert report.solve("s", budget=report.at(s=40).saved.bytes) == 40


class OneMore(nn.Module):
    """Has `P` learned positions, for one token more than the input has."""

    def __init__(self, h, P) -> None:
        super().__init__()
        self.positions, self.f = nn.Embedding(P, h), nn.Linear(h, P)

    def forward(self, x):
        x = nn.functional.pad(x, (0, 0, 1, 0))
        return self.f(x + self.positions(torch.arange(x.shape[1], device=x.device))).tanh()


@pytest.mark.slow
def test_a_limit_that_held_out_points_are_beyond() -> None:
    """They have more positions and may have longer inputs for that: at the working point these do not run."""
    report = graphmem.analyze(lambda h=16, P=40: OneMore(h, P), lambda b=4, s=20, h=16: (torch.randn(b, s, h),))
    assert any(there["s"] > 39 for there in report.verified.points)
    assert report.limits == (Limit("s", most=39, refused=True, by="P", beside=-1),)
    with pytest.raises(SymbolError, match=r"the model accepts s <= 39 \(P - 1\)"):
        report.at(s=40)
    with pytest.raises(SymbolError, match=r"the model accepts s <= 63 \(P - 1\)"):
        report.at(s=64, P=64)
    assert report.solve("s", budget="1GiB") == 39


class Shifted(nn.Module):
    """A language model with a table of positions. Of two positions a shift by one leaves one, which needs no copy."""

    def __init__(self, h: int, s: int) -> None:
        super().__init__()
        self.positions, self.head = nn.Embedding(s, h), nn.Linear(h, 50)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x + self.positions(torch.arange(x.shape[1], device=x.device)))[:, :-1]
        return self.head(x.flatten(0, 1)).logsumexp(-1)


def test_a_length_that_the_model_is_built_for_has_a_least_value_too() -> None:
    """It is a size of the model and of its inputs."""

    def model(h: int = 16, s: int = 64) -> nn.Module:
        return Shifted(h, s)

    def inputs(b: int = 4, h: int = 16, s: int = 64) -> torch.Tensor:
        return torch.randn(b, s, h, requires_grad=True)

    report = graphmem.analyze(model, inputs, device="cpu")
    assert [limit.least for limit in report.limits if limit.symbol == "s"] == [3]
    for s in (3, 4, 65):
        assert report.at(s=s).saved.bytes == real_bytes(model(s=s), inputs(s=s))
    with pytest.raises(SymbolError):
        report.at(s=2)
