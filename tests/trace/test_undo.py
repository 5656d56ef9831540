"""Whatever forward fills, the module and what hangs on it are as before: no fake tensor stays behind."""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import graphmem


class Cache:
    key: torch.Tensor | None = None


@dataclass
class Layers:
    caches: list[Cache] = field(default_factory=lambda: [Cache()])
    seen: int = 0


class Fills(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.cache, self.layers, self.space = Cache(), Layers(), SimpleNamespace(last=None)
        self.lists: dict[str, list[Any]] = {"a": []}
        self.inside = ([], {"b": set()})
        self.recent, self.named, self.grouped = deque(maxlen=2), OrderedDict(x=1, y=2), defaultdict(list)
        self.alone = {"helper": nn.Linear(8, 8)}  # not registered
        self.cache.owner = self  # type: ignore[attr-defined]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x)
        self.cache.key = self.layers.caches[0].key = self.space.last = y
        self.layers.seen += 1
        for held in (self.lists["a"], self.inside[0], self.recent, self.grouped["c"], self.layers.caches):
            held.append(y)
        self.inside[1]["b"].add(y)
        self.named.move_to_end("x")
        self.alone["helper"].last = y
        return y.sum()


def state(module: Fills) -> list[Any]:
    """All that forward fills, read one by one."""
    return [
        dict(vars(module.cache)), list(module.layers.caches), dict(vars(module.layers.caches[0])), module.layers.seen,
        module.space.last, dict(module.lists), list(module.lists["a"]), list(module.inside[0]),
        set(module.inside[1]["b"]), list(module.recent), list(module.named),
        dict(module.grouped), sorted(vars(module.alone["helper"])),
    ]  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
def test_what_forward_fills_is_as_before(fails: bool) -> None:
    module = Fills()
    before = state(module)
    if fails:
        module.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(graphmem.GraphmemError):
            graphmem.analyze(module, (torch.empty(4, 8, device="meta"),))
    else:
        graphmem.analyze(module, (torch.empty(4, 8, device="meta"),))
    assert state(module) == before
    assert module.recent.maxlen == 2


def test_what_the_process_shares_is_left_alone() -> None:
    """A logger leads to all loggers; one that is made meanwhile stays."""

    class Logs(nn.Linear):
        logger = logging.getLogger("model")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.__dict__["made"] = logging.getLogger("made in forward")
            return super().forward(x)

    module = Logs(8, 8)
    module.own = logging.getLogger("model.own")  # type: ignore[assignment]
    graphmem.analyze(module, (torch.empty(4, 8, device="meta"),))
    assert "made in forward" in logging.root.manager.loggerDict
    assert not hasattr(module, "made")
