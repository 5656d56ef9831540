"""Sizes that agree wherever one looks first: a point that tells is looked for, or the formula does not hold there."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import SymbolError
from graphmem.report import Limit
from support.at_points import right_or_refused

Model = Callable[..., nn.Module]


def tokens(b: int = 4, s: int = 40, h: int = 128) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, s, h),)


def image(b: int = 2, n: int = 64) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, 3, n, n),)


class Padded(nn.Module):
    """Pads heads of h/a to a multiple of 8, and only where they need it."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.f, self.a, self.d = nn.Linear(h, h), a, h // a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.f(x).unflatten(-1, (self.a, self.d)).sigmoid()
        return (nn.functional.pad(y, (0, -self.d % 8)).exp() if self.d % 8 else y).tanh()


def test_heads_that_were_multiples_of_8_wherever_they_were_traced() -> None:
    def model(h: int = 128, a: int = 2) -> nn.Module:
        return Padded(h, a)

    report = graphmem.analyze(model, tokens, device="cpu")
    assert Limit("h", multiple_of=8, by="a") in report.limits
    assert any("h/a a multiple of 8" in note for note in report.notes)
    points = [{"h": 120}, {"h": 132}, {"h": 144}, {"h": 96, "a": 4}, {"h": 80, "a": 10}, {"h": 84, "a": 7}]
    assert right_or_refused(model, tokens, points) == 3


class Left(nn.Module):
    """Heads that need not divide h: the rest is left over. The kernel of attention is the same then."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.a, self.qkv = a, nn.Linear(h, 3 * (h // a) * a)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        return nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).sigmoid()


def test_heads_have_to_divide_where_the_formula_says_so() -> None:
    def model(h: int = 128, a: int = 4) -> nn.Module:
        return Left(h, a)

    report = graphmem.analyze(model, tokens, device="cpu")
    assert Limit("h", multiple_of=1, by="a") in report.limits
    assert "floor" not in str(report.saved.expr)
    with pytest.raises(SymbolError, match="h a multiple of a"):
        report.at(h=129)
    assert right_or_refused(model, tokens, [{"h": 130}, {"h": 132}, {"h": 160}, {"a": 8}]) >= 2


class Twice(nn.Module):
    """Every second position of every fourth: rounded up, and then down."""

    def __init__(self, h: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, h, 3, 4, 1), nn.Conv2d(h, h, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).sigmoid()).sigmoid()


@pytest.mark.slow
def test_a_size_that_is_rounded_twice() -> None:
    def model(h: int = 16) -> nn.Module:
        return Twice(h)

    points = [{"n": n} for n in (65, 69, 70, 71, 72, 79, 143)] + [{"b": 3}, {"h": 24}]
    assert right_or_refused(model, image, points) >= 2


class Half(nn.Module):
    """Every expert takes its part of the tokens, rounded up; there are two."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(0, 1).sigmoid()
        return flat[: math.ceil(flat.shape[0] / 2)].exp()


@pytest.mark.slow
def test_the_half_of_a_product() -> None:
    def model(h: int = 128) -> nn.Module:
        return nn.Sequential(nn.Linear(h, h), Half())

    points = [{"b": 5}, {"s": 41}, {"b": 5, "s": 41}, {"b": 67, "s": 3}]
    assert right_or_refused(model, tokens, points) == 4


class Dropped(nn.Module):
    def __init__(self, h: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(h, h) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, layer in enumerate(self.layers):
            if not i or torch.rand([]) > 0.3:
                x = layer(x).sigmoid()
        return x


@pytest.mark.slow
def test_layers_that_a_random_number_drops_are_not_counted_by_a_formula() -> None:
    report = graphmem.analyze(lambda h=128, L=2: Dropped(h, L), tokens, device="cpu")
    with pytest.raises(SymbolError, match="only traced at 2"):
        report.at(L=9)


class Projected(nn.Module):
    """ELECTRA's embeddings: a projection where they are not as wide as the model."""

    def __init__(self, h: int, a: int, width: int) -> None:
        super().__init__()
        self.up, self.a = nn.Linear(h, width), a
        self.project = nn.Linear(width, h) if width != h else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(self.up(x)).unflatten(-1, (self.a, -1)).softmax(-1)


@pytest.mark.slow
def test_sizes_that_must_not_be_equal() -> None:
    def model(h: int = 128, a: int = 4, width: int = 96) -> nn.Module:
        return Projected(h, a, width)

    report = graphmem.analyze(model, tokens, device="cpu")
    assert Limit("width", not_equals="h") in report.limits
    with pytest.raises(SymbolError, match="width other than h"):
        report.at(width=128)
    assert right_or_refused(model, tokens, [{"width": 100}, {"width": 300}, {"h": 96}, {"h": 256}]) == 3
