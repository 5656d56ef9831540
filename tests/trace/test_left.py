"""What forward leaves in the module with a graph behind it is what really grows, step by step."""

from __future__ import annotations

import gc
from collections import UserList, deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import graphmem
from graphmem.linter.engine import check
from graphmem.linter.threshold import Threshold
from support.slow import first_of


class Holder:
    """A plain object of the model's."""

    def __init__(self) -> None:
        self.items: list[torch.Tensor] = []


class Net(nn.Module):
    """Puts something aside; `put(self, loss, hidden)` says what and where."""

    def __init__(self, put: Callable[[Any, torch.Tensor, torch.Tensor], object]) -> None:
        super().__init__()
        self.body, self.put = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)), put
        self.items: Any = []
        self.table: dict[str, list[torch.Tensor]] = {"a": []}
        self.user: Any = UserList()
        self.recent: deque[torch.Tensor] = deque(maxlen=1)
        self.holder = Holder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(x)
        loss = hidden.square().mean()
        self.put(self, loss, hidden)
        return loss  # type: ignore[no-any-return]


GROWS: dict[str, Callable[[Any, torch.Tensor, torch.Tensor], object]] = {
    "list": lambda net, loss, hidden: net.items.append(hidden),
    "losses": lambda net, loss, hidden: net.items.append(loss),
    "both": lambda net, loss, hidden: net.items.extend([loss, hidden]),
    "a view": lambda net, loss, hidden: net.items.append(hidden[:, :1]),
    "dict of lists": lambda net, loss, hidden: net.table["a"].append(hidden),
    "user list": lambda net, loss, hidden: net.user.append(hidden),
    "object": lambda net, loss, hidden: net.holder.items.append(hidden),
    "new key": lambda net, loss, hidden: net.table.update({str(len(net.table)): [hidden]}),
}
STAYS: dict[str, Callable[[Any, torch.Tensor, torch.Tensor], object]] = {
    "attribute": lambda net, loss, hidden: setattr(net, "last", hidden),
    "bounded": lambda net, loss, hidden: net.recent.append(hidden),
    "new list": lambda net, loss, hidden: setattr(net, "items", [hidden]),
}
NOTHING: dict[str, Callable[[Any, torch.Tensor, torch.Tensor], object]] = {
    "detached": lambda net, loss, hidden: net.items.append(hidden.detach()),
    "number": lambda net, loss, hidden: net.items.append(3.0),
    "nothing": lambda net, loss, hidden: None,
}


def _live_bytes() -> int:
    """Bytes of every storage that some tensor has, each once."""
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor or type(o) is nn.Parameter]
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def _really_left(net: Net, x: torch.Tensor) -> list[int]:
    """What each of some training steps leaves, in bytes; gradients exist from the first on."""
    net(x).backward()
    gc.collect()  # of tests before this one
    found, before = [], _live_bytes()
    for _ in range(3):
        net(x).backward()
        found.append((now := _live_bytes()) - before)
        before = now
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", GROWS)
def test_what_grows_is_found_with_its_bytes(name: str) -> None:
    net, x = Net(GROWS[name]), torch.randn(2, 8, 16)
    report = graphmem.analyze(net, (x,), device="cpu")
    assert any("unless something empties that, every step leaves its own" in note for note in report.notes)
    findings = check(report, select=["GM209"], threshold=Threshold(share=0))
    assert all("every step adds to that" in f.message for f in findings)
    assert _really_left(net, x) == [sum(f.bytes for f in findings)] * 3


@pytest.mark.slow
@pytest.mark.parametrize("name", STAYS)
def test_what_stays_until_the_next_step_is_found(name: str) -> None:
    net, x = Net(STAYS[name]), torch.randn(2, 8, 16)
    report = graphmem.analyze(net, (x,), device="cpu")
    assert not any("every step" in note for note in report.notes)
    (finding,) = check(report, select=["GM209"], threshold=Threshold(share=0))
    assert "until the next forward replaces it" in finding.message
    assert _really_left(net, x) == [0, 0, 0]


@pytest.mark.parametrize("name", first_of(NOTHING))
def test_what_has_no_graph_is_not(name: str) -> None:
    report = graphmem.analyze(Net(NOTHING[name]), (torch.randn(2, 8, 16),), device="cpu")
    assert not any("graph behind them" in note for note in report.notes)
    assert check(report, select=["GM209"], threshold=Threshold(share=0)) == []


def test_a_loss_that_backward_starts_from_is_no_mistake() -> None:
    class Keeps(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.body(x)
            self.last_loss = hidden.square().mean()
            return hidden

    report = graphmem.analyze(Keeps(NOTHING["nothing"]), (torch.randn(2, 8, 16),), device="cpu")
    assert any("backward starts from last_loss" in note for note in report.notes)
    assert check(report, select=["GM209"], threshold=Threshold(share=0)) == []
