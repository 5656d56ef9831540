"""Fake tensors in place of those of the inputs, wherever in them they are."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import nn

from graphmem._torch import FakeTensor, FakeTensorMode
from graphmem.accounts.saved import SAVED, sort_storages
from graphmem.how import read_how
from graphmem.trace import trace
from graphmem.trace.fakes import Faker
from support.oracle import real_saved

Pair = namedtuple("Pair", ["x", "mask"])


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(8, 8)

    def forward(self, pair: Any) -> torch.Tensor:
        x, mask = pair
        return (self.f(x.sin()) * mask).sigmoid().sum()


@pytest.mark.parametrize("kind", [lambda x, mask: (x, mask), lambda x, mask: [x, mask], Pair])
def test_what_is_given_in_a_pair_is_the_callers_own(kind: Any) -> None:
    module, inputs = Masked(), (kind(torch.randn(2, 6, 8, requires_grad=True), torch.ones(2, 6, 1)),)
    record = trace(module, inputs, read_how({"gpu": "h100"}))
    kept = sum(k.nbytes for k in sort_storages(record) if k.table == SAVED)
    assert kept == sum(size * n for size, n in real_saved(module, inputs).items())


def test_a_namedtuple_stays_one() -> None:
    names = list[str]()
    fake = Faker(FakeTensorMode(), "cuda", None)
    pair = fake.tree({"pair": Pair(torch.ones(2), [torch.ones(3)])}, lambda name, *_: names.append(name), "")["pair"]
    assert isinstance(pair, Pair)
    assert all(isinstance(t, FakeTensor) and t.device.type == "cuda" for t in (pair.x, *pair.mask))
    assert names == ["pair.0", "pair.1.0"]
