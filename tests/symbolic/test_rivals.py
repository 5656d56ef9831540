"""Expressions that agree at all points so far are told apart where they differ."""

from __future__ import annotations

import pytest
import sympy
import torch
from torch import nn
from torch.nn import functional as F

import graphmem
from graphmem.symbolic.curves import evaluate, symbol
from graphmem.symbolic.rivals import Rivals, Telling

a, h, v = map(symbol, "ahv")


def test_the_points_that_tell_keep_what_divides_first() -> None:
    first, other, base = 4 * h, 32 * sympy.ceiling(h / 8), {"h": 64, "a": 4}
    points = list(Rivals(base).telling(first, other))
    assert points[0] == Telling("h", 4, {"h": 68, "a": 4})
    assert Telling("h", 1, {"h": 65, "a": 4}) in points
    assert all(evaluate(first, x.point) != evaluate(other, x.point) for x in points)


def test_there_is_no_point_for_what_is_the_same() -> None:
    assert not list(Rivals({"h": 64, "v": 1000}).telling(v * h, h * v))


def test_the_point_that_tells_most_comes_first() -> None:
    eight, nine = 8 * sympy.ceiling(h / 8), 16 * sympy.ceiling(h / 16)
    points = Rivals({"h": 64}).most_telling([(h, eight), (h, nine), (eight, nine)])
    assert points[0].point == {"h": 65} or len({evaluate(e, points[0].point) for e in (h, eight, nine)}) == 3


class Attention(nn.Module):
    """It refuses heads that do not divide h, so a symbol of heads has no neighbour that tells anything."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.a, self.qkv = a, nn.Linear(h, 3 * h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def padded(h: int = 80, a: int = 4, f: int = 1000) -> nn.Module:
    """Heads of 20, which flash attention pads to 24, and a feed-forward that is padded to 1024."""
    f = -(-f // 64) * 64
    layers = (Attention(h, a), nn.Linear(h, f), nn.GELU(), nn.Linear(f, h), nn.Sigmoid())
    return nn.Sequential(*layers).bfloat16()


def tokens(b: int = 2, s: int = 24, h: int = 80) -> tuple[torch.Tensor, ...]:
    return (torch.zeros(b, s, h, dtype=torch.bfloat16),)


@pytest.mark.slow
@pytest.mark.parametrize("f", [392, 1100])
def test_a_symbol_that_is_refused_leaves_room_for_the_others(f: int) -> None:
    report = graphmem.analyze(padded, tokens, gpu="a100")
    assert report.verified.exact
    assert report.at(f=f).saved.bytes == graphmem.analyze(padded, tokens, gpu="a100", symbols={"f": f}).saved.bytes


class TwoKinds(nn.Module):
    """Heads of a size of their own below, and heads that divide h above: that all sizes move is refused nearly
    everywhere, since another kernel would run."""

    def __init__(self, h: int, a: int, d: int) -> None:
        super().__init__()
        self.a, self.below = a, nn.Linear(h, 3 * a * d)
        self.out, self.above = nn.Linear(a * d, h), nn.Linear(h, 3 * h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for qkv, out in ((self.below, self.out), (self.above, nn.Identity())):
            q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in qkv(x).chunk(3, 2))
            x = out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x.sin()


@pytest.mark.slow
def test_what_tells_rivals_apart_is_no_proof_of_all_symbols() -> None:
    def model(h: int = 80, a: int = 4, d: int = 20) -> nn.Module:
        return TwoKinds(h, a, d).bfloat16()

    report = graphmem.analyze(model, tokens, gpu="a100")
    derived = report.analysis.derived
    assert not report.verified.exact or all(
        any(point[n] != derived.base[n] for point in derived.proofs) for n in derived.moved
    )


def test_what_counts_layers_is_not_made_a_thousand() -> None:
    rivals = Rivals({"L": 3, "v": 1000})
    few = [point.point["L"] for point in rivals.telling(symbol("L"), symbol("L") + 1)]
    assert few
    assert max(few) <= 48
    assert max(point.point["v"] for point in rivals.telling(symbol("v"), symbol("v") + 1)) > 1500
