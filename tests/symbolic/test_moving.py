"""What a bound moves with: one size, a product of inputs, or a part of both."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import graphmem
from graphmem.errors import SymbolError
from graphmem.report import Limit
from graphmem.symbolic.bounds import Bound, Moving
from graphmem.symbolic.moving import _simplest, moving_of
from support.oracle import real_bytes
from support.reports import emitted


class Rule:
    """Stands for a model whose formula holds where a rule does."""

    derived = SimpleNamespace(model_symbols={"P", "w", "u", "h"}, depth=(), loops={}, follows={})

    def __init__(self, name, rule, **base) -> None:
        self.name, self.rule, self.base = name, rule, base

    def at(self, value, **others):
        return self.rule(**{**self.base, **others, self.name: value})


@pytest.mark.parametrize("up", [True, False])
def test_one_size_and_how_far_off_it(up) -> None:
    rule = Rule("s", lambda s, w, **_: s <= w - 1 if up else s >= w - 1, b=100, P=100, w=100, s=60)
    assert moving_of(rule, 99, 1 if up else -1) == Moving(("w",), beside=-1)
    stays = Rule("s", lambda s, **_: s <= 99 if up else s >= 99, b=100, P=100, s=60)
    assert moving_of(stays, 99, 1 if up else -1) is None


def test_a_part_of_a_size() -> None:
    assert moving_of(Rule("s", lambda s, h: 4 * s <= h, s=10, h=64), 16, 1) == Moving(("h",), times=Fraction(1, 4))


def test_inputs_that_share_a_block() -> None:
    """Of 1,000 tokens b is 10 where s is 96: it may be 1000/s or 960/s, and where s is 12 it is 83."""
    rule = Rule("b", lambda b, s, **_: b * s <= 1000, b=2, s=96, h=64)
    assert moving_of(rule, 10, 1) == Moving((), ("s",), times=Fraction(1000))
    rule = Rule("b", lambda b, s, u: b * s <= 2 * u, b=2, s=24, u=256)
    assert moving_of(rule, 21, 1) == Moving(("u",), ("s",), times=Fraction(2))


def test_the_least_size_that_inputs_need() -> None:
    rule = Rule("u", lambda u, b, s: b * s <= 2 * u, b=2, s=24, u=256)
    assert moving_of(rule, 24, -1) == Moving(("s", "b"), times=Fraction(1, 2))


def test_what_was_seen_at_whole_numbers_only_is_not_said_to_be_more() -> None:
    """No symbol can be made smaller here, so no trace tells 12/s from 13/s."""
    assert moving_of(Rule("b", lambda b, s: b * s <= 13, b=2, s=4), 3, 1) == Moving((), ("s",), times=Fraction(12))


def test_a_size_whose_divisors_stay() -> None:
    """Heads of up to 256: h can only be doubled."""
    rule = Rule("h", lambda h, a, **_: h % a == 0 and h // a <= 256, h=1024, a=16, P=7)
    assert moving_of(rule, 4096, 4096) == Moving(("a",), times=Fraction(256))


def test_a_table_that_the_model_refuses_to_leave_moves_with_one_size_only() -> None:
    rule = Rule("s", lambda s, P, **_: s <= P, s=60, P=100, b=2)
    assert moving_of(rule, 100, 1, refused=True) == Moving(("P",))


@pytest.mark.parametrize(
    ("inside", "outside", "simplest"),
    [(504, 528, 512), (996, 1008, 1000), (512, 513, 512), (3, 2, 3), (24, 23, 24), ("21/16", "22/16", "4/3")],
)
def test_the_roundest_number(inside, outside, simplest) -> None:
    assert _simplest(Fraction(inside), Fraction(outside)) == Fraction(simplest)


def test_what_is_said_of_a_product() -> None:
    bound = Bound("b", 21, up=True, moving=Moving(("u",), ("s",), times=Fraction(2)))
    assert bound.text({"u": 256, "s": 24}) == "b <= 21 (2*u/s)"
    assert [bound.keeps_out({"b": b, "u": 256, "s": 24}) for b in (21, 22)] == [False, True]
    assert bound.keeps_out({"b": 6, "u": 256, "s": 255})
    assert bound._replace(moving=Moving((), ("b", "s"), times=Fraction(64))).text({}) == "b <= 21 (64/(b*s))"


class Blocks(nn.Module):
    """The loss of 1,000 tokens at a time."""

    def __init__(self, h, v) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(v, h), nn.Linear(h, v)

    def forward(self, ids):
        pairs = zip(self.tokens(ids).flatten(0, 1).split(1000), ids.flatten().split(1000), strict=True)
        return sum(F.cross_entropy(self.head(x), y, reduction="sum") for x, y in pairs)


@pytest.mark.slow
def test_a_loss_in_blocks_of_tokens() -> None:
    def inputs(b=2, s=96):
        return (torch.zeros(b, s, dtype=torch.long),)

    report = graphmem.analyze(lambda h=16, v=30: Blocks(h, v), inputs, device="cpu")
    assert Limit("b", most=10, by="1/s", times="1000") in report.limits
    assert Limit("s", most=500, by="1/b", times="1000") in report.limits
    for b, s in ((10, 100), (8, 125), (1, 1000)):
        assert report.at(b=b, s=s).saved.bytes == real_bytes(Blocks(16, 30), inputs(b, s))
    with pytest.raises(SymbolError, match=r"b <= 8 \(1000/s\) only"):
        report.at(b=9, s=120)
    saved_bytes = emitted(report)
    known = {n: v for n, v in report.symbols.items() if n not in ("b", "s")}
    assert saved_bytes(**known, b=8, s=125) == report.at(b=8, s=125).saved.bytes
    with pytest.raises(ValueError, match="1000/s"):
        saved_bytes(**known, b=9, s=120)
