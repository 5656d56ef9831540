"""Sizes that are rounded: the formula is right beside the working point, or says that it does not hold there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import graphmem
from graphmem.analysis.report import Report
from graphmem.errors import SymbolError
from support.oracle import real_bytes


def up_to(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class Head(nn.Module):
    """A vocabulary that is padded, as for tensor cores."""

    def __init__(self, v: int, h: int, multiple: int) -> None:
        super().__init__()
        self.head = nn.Linear(h, up_to(v, multiple), bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).log_softmax(-1)


class Wide(nn.Module):
    """Llama's feed-forward: two thirds of 4h, rounded up."""

    def __init__(self, h: int, multiple: int) -> None:
        super().__init__()
        f = up_to(int(2 * (4 * h) / 3), multiple)
        self.one, self.two, self.down = nn.Linear(h, f), nn.Linear(h, f), nn.Linear(f, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.one(x)) * self.two(x))


class Patches(nn.Module):
    """Patches of an image, which need not divide it, and no class token."""

    def __init__(self, p: int, h: int) -> None:
        super().__init__()
        self.patches, self.out = nn.Conv2d(3, h, p, p), nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.out((x @ x.transpose(1, 2)).softmax(-1) @ x).sin()


class Capped(nn.Module):
    def __init__(self, v: int, h: int) -> None:
        super().__init__()
        self.head = nn.Linear(h, min(v, 300))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).sin()


def tokens(b: int = 2, s: int = 24, h: int = 64) -> tuple[torch.Tensor, ...]:
    return (torch.zeros(b, s, h),)


def image(b: int = 2, n: int = 32) -> tuple[torch.Tensor, ...]:
    return (torch.zeros(b, 3, n, n),)


def padded(v: int = 1000, h: int = 64) -> nn.Module:
    return Head(v, h, 64)


def padded_far(v: int = 50254, h: int = 64) -> nn.Module:
    return Head(v, h, 512)


def wide(h: int = 64) -> nn.Module:
    return Wide(h, 32)


def patches(n: int = 32, p: int = 2, h: int = 16) -> nn.Module:
    return Patches(p, h)


def capped(v: int = 200, h: int = 64) -> nn.Module:
    return Capped(v, h)


@functools.cache
def analysed(model: Callable[..., nn.Module], inputs: Callable[..., Any]) -> Report:
    report = graphmem.analyze(model, inputs, device="cpu")
    assert report.verified.exact
    return report


def real(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    return real_bytes(model, inputs)


@pytest.mark.parametrize("model", [padded, padded_far])
@pytest.mark.parametrize("v", [1001, 1024, 1025, 977, 4099])
def test_a_padded_vocabulary(model: Callable[..., nn.Module], v: int) -> None:
    assert analysed(model, tokens).at(v=v).saved.bytes == real(model(v=v), tokens())


@pytest.mark.slow
@pytest.mark.parametrize("h", [65, 72, 100, 128, 250])
def test_a_rounded_fraction(h: int) -> None:
    assert analysed(wide, tokens).at(h=h).saved.bytes == real(wide(h=h), tokens(h=h))


@pytest.mark.slow
@pytest.mark.parametrize("point", [{"n": 20}, {"n": 33}, {"n": 50, "p": 3}, {"p": 5}])
def test_patches_that_do_not_divide(point: dict[str, int]) -> None:
    n = {k: v for k, v in point.items() if k == "n"}
    assert analysed(patches, image).at(**point).saved.bytes == real(patches(**point), image(**n))


@pytest.mark.slow
def test_a_capped_size_has_a_bound() -> None:
    report = analysed(capped, tokens)
    assert report.at(v=300).saved.bytes == real(capped(v=300), tokens())
    with pytest.raises(SymbolError, match="v <= 300"):
        report.at(v=301)


@pytest.mark.slow
def test_a_size_without_an_expression_is_left_out_and_the_rest_is_proved() -> None:
    """7 * (h ^ 5) is no form that is known: the formula is for one h."""

    def model(h: int = 64, f: int = 32) -> nn.Module:
        return nn.Sequential(nn.Linear(h, f), nn.Tanh(), nn.Linear(f, 7 * (h ^ 5)), nn.Tanh())

    report = analysed(model, tokens)
    assert {*report.symbols} == {"b", "s", "f"}
    assert any("for h=64 only" in note for note in report.notes)
    assert report.at(f=41, s=7).saved.bytes == real(model(f=41), tokens(s=7))


def test_a_dimension_of_one_is_refused_where_it_matters() -> None:
    """Elements of heads of one are turned without a copy."""

    def model(h: int = 64, a: int = 4) -> nn.Module:
        return Turned(h, a)

    report = analysed(model, tokens)
    assert report.at(a=8).saved.bytes == real(model(a=8), tokens())
    with pytest.raises(SymbolError, match="dimension of h/a is 1"):
        report.at(a=64)


def test_a_dimension_of_one_is_taken_where_it_was_seen_to_make_no_difference() -> None:
    def model(h: int = 64, a: int = 4) -> nn.Module:
        return Heads(h, a)

    report = analysed(model, tokens)
    assert report.at(a=64).saved.bytes == real(model(a=64), tokens())
    assert report.at(a=16, h=16).saved.bytes == real(model(a=16, h=16), tokens(h=16))


@pytest.mark.slow
@pytest.mark.parametrize("point", [{"h": 70}, {"a": 5}, {"h": 97, "a": 6}])
def test_heads_need_not_divide(point: dict[str, int]) -> None:
    """What is left over is not used."""

    def model(h: int = 64, a: int = 4) -> nn.Module:
        return nn.Sequential(nn.Linear(h, h // a * a), nn.Tanh(), nn.Linear(h // a * a, h), nn.Tanh())

    h = {k: v for k, v in point.items() if k == "h"}
    assert analysed(model, tokens).at(**point).saved.bytes == real(model(**point), tokens(**h))


class Heads(nn.Module):
    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.a, self.qkv = a, nn.Linear(h, 3 * h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        return ((q @ k.transpose(2, 3)).softmax(-1) @ v).transpose(1, 2).flatten(2).sin()


class Turned(nn.Module):
    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.a, self.up = a, nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(x).tanh().unflatten(2, (self.a, -1)).transpose(2, 3).flatten(2).sin()
