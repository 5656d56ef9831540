"""Rows of the attention table do not overlap: over all of them every storage counts once."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from torch import nn

import graphmem

_region: list[str] = []  # which row's attention is running, for the oracle


class _Attention(nn.Module):
    """Its softmax stands at one line with a window, at another without; `gated` multiplies by what all layers share."""

    def __init__(self, h: int, windowed: bool, gated: bool) -> None:
        super().__init__()
        self.qkv, self.windowed, self.gated = nn.Linear(h, 3 * h), windowed, gated

    def forward(self, x: torch.Tensor, gate: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(2, (2, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=2))
        _region.append("windowed" if self.windowed else "full")
        scores = q @ k.transpose(2, 3)
        if self.gated:
            scores = scores * gate
        if self.windowed:  # noqa: SIM108  # two lines are what this is about
            weights = (scores + window).softmax(dim=-1)
        else:
            weights = scores.softmax(dim=-1)
        y = weights @ v
        _region.pop()
        return x + y.transpose(1, 2).flatten(2)


class _Stack(nn.Module):
    def __init__(self, h: int, windowed: list[bool], gated: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Attention(h, w, gated) for w in windowed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = x.shape[1]
        gate, window = torch.ones(s, s, device=x.device).tril(), torch.zeros(s, s, device=x.device)
        for layer in self.layers:
            x = layer(x, gate, window)
        return x


def _inputs(b: int = 2, s: int = 24, h: int = 16) -> tuple[torch.Tensor]:
    return (torch.randn(b, s, h),)


def _really(module: nn.Module, inputs: tuple[torch.Tensor]) -> dict[str, dict[int, int]]:
    """By row, the storages that autograd packs while its attentions run: address -> bytes."""
    packed: dict[str, dict[int, int]] = defaultdict(dict)
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        if _region:
            storage = tensor.untyped_storage()
            packed[_region[-1]][storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        module(*inputs)
    return dict(packed)


def _check(report: graphmem.Report, really: dict[str, dict[int, int]]) -> None:
    """Each row keeps what autograd packed in its attentions, and what an earlier row counts it only shares."""
    earlier: set[int] = set()
    for row, kept in zip(report.attention, really.values(), strict=True):
        own = sum(n for address, n in kept.items() if address not in earlier)
        assert row.size.bytes == own
        assert sum(part.size.bytes for part in row.parts) == own
        assert sum(part.size.bytes for part in row.shared) == sum(kept.values()) - own
        assert row.size.expr.subs({x: report.symbols[x.name] for x in row.size.expr.free_symbols}) == own
        earlier |= kept.keys()
    assert sum(row.size.bytes for row in report.attention) <= report.saved.bytes


def _windows(L: int, pattern: str) -> list[bool]:
    """One letter for each layer; the last two are repeated."""
    return [(pattern + pattern[-2:] * L)[i] == "w" for i in range(L)]


@pytest.mark.slow
@pytest.mark.parametrize("gated", [False, True], ids=["apart", "one gate"])
@pytest.mark.parametrize("pattern", ["wf", "ww", "fw"])
def test_rows_at_any_depth(pattern: str, gated: bool) -> None:
    def model(h: int = 16, L: int = 4) -> nn.Module:
        return _Stack(h, _windows(L, pattern), gated)

    report = graphmem.analyze(model, _inputs, device="cpu")
    for L in (4, 8):
        _check(report.at(L=L), _really(model(L=L), _inputs()))
    _check(report.at(s=40), _really(model(), _inputs(s=40)))


@pytest.mark.slow
def test_rows_of_layers_of_which_one_is_different() -> None:
    def model(h: int = 16) -> nn.Module:
        return _Stack(h, [True, True, False, True], gated=False)

    report = graphmem.analyze(model, _inputs, device="cpu")
    _check(report, _really(model(), _inputs()))
    assert [row.count for row in report.attention] == [3, 1]
    assert {str(row.each) for row in report.attention} == {"12*b*h*s + 8*b*s**2"}
    assert "  shares  " not in str(report)


def test_what_rows_share_is_said_where_it_does_not_count() -> None:
    def model(h: int = 16) -> nn.Module:
        return _Stack(h, [True, False], gated=True)

    report = graphmem.analyze(model, _inputs, device="cpu")
    first, second = report.attention
    assert not first.shared
    assert [part.name for part in second.shared] == ["mask"]
    assert "shares   mask 4s²: kept by attentions above as well" in str(report)
    assert report.to_dict()["attention"][1]["shared"] == [{"part": "mask", "bytes": 4 * 24**2, "each": "4*s**2"}]
