"""Whatever forward fills, the module and what hangs on it are as before: no fake tensor stays behind."""

from __future__ import annotations

import gc
import importlib
import json
import logging
import threading
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

import graphmem
from graphmem.how import read_how
from graphmem.load.hf.subject import from_config_file
from graphmem.trace import trace
from graphmem.trace.parts import caches_of


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


_FILE = """
import collections, functools
import torch
from torch import nn

CACHE, TABLE, LISTS, STEPS = {}, None, [[]], 0

class Slot:
    __slots__ = ("key",)

class Items(list):
    def copy(self):
        raise RuntimeError

@functools.lru_cache(None)
def table(s):
    return torch.ones(s, device="cuda")

class Memo:
    @functools.lru_cache
    def get(self, s):
        return torch.ones(s, device="cuda")

def default(x, memo=[]):
    memo.append(x)

def closure():
    seen, last = [], None
    def keep(x):
        nonlocal last
        seen.append(x)
        last = x
    return keep

keep = closure()

class Base(nn.Module):
    shared, last = {}, None

class Net(Base):
    def __init__(self):
        super().__init__()
        self.linear, self.slot, self.items, self.memo = nn.Linear(16, 16), Slot(), Items(), Memo()
        self.dict, self.list, self.chain = collections.UserDict(), collections.UserList(), collections.ChainMap({})

    def forward(self, x):
        global TABLE, STEPS
        y = self.linear(x)
        CACHE["y"] = TABLE = Base.shared["y"] = type(self).last = Net.added = y
        STEPS += 1
        LISTS[0].append(y)
        self.slot.key = self.dict["y"] = self.chain["y"] = y
        self.items.append(y), self.list.append(y), default(y), keep(y)
        return (y * table(16) * self.memo.get(16)).exp()
"""


def _found(file: Any, net: Any) -> list[Any]:
    return [
        dict(file.CACHE), file.TABLE, list(file.LISTS[0]), file.Net.last, dict(file.Base.shared),
        hasattr(file.Net, "added"), hasattr(net.slot, "key"), list(net.items), dict(net.dict), list(net.list),
        dict(net.chain), list(file.default.__defaults__[0]), [c.cell_contents for c in file.keep.__closure__ if c],
        file.table.cache_info().currsize, file.Memo.get.cache_info().currsize,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True])
def test_no_fake_tensor_stays_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool) -> None:
    """In its globals, its classes, its closures and its caches; the next real forward would find it there."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"keeps_{beside}.py").write_text(_FILE)
    file = importlib.import_module(f"keeps_{beside}")
    net, x = file.Net(), torch.randn(2, 8, 16)
    before, done = _found(file, net), threading.Event()
    other = threading.Thread(target=done.wait, args=(30,))
    if beside:
        other.start()
    report = graphmem.analyze(net, (x,))
    done.set()
    assert _found(file, net) == before
    assert report.verified.exact
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is FakeTensor and o.shape == (2, 8, 16)]
    assert file.STEPS > 0  # a number may be anybody's


def test_no_fake_tensor_stays_in_what_a_function_of_a_library_remembers(tmp_path: Path) -> None:
    """Training in the same process would get it: DINOv3 remembers where its patches are."""
    pytest.importorskip("transformers")
    small = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 64}
    content = {"model_type": "dinov3_vit", "architectures": ["DINOv3ViTModel"], "image_size": 32, **small}
    (tmp_path / "config.json").write_text(json.dumps(content))
    subject = from_config_file(str(tmp_path / "config.json"), settings={}, task=None, trust_remote_code=False)
    trace(subject.build(subject.symbols), subject.make_inputs(subject.symbols, False), read_how({}))
    from transformers.models.dinov3_vit import modeling_dinov3_vit as file

    [remembers] = caches_of({"": file.get_patches_center_coordinates})
    assert remembers.cache_info().currsize == 0


def test_what_another_thread_writes_into_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the model may be that of the training loop, too."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trains.py").write_text(_FILE + "\nLOG, STEP = [], 0\n")
    file = importlib.import_module("trains")
    work, done = threading.Event(), threading.Event()

    def train() -> None:
        work.wait(30)
        file.STEP, file.LOSS = 7, 0.5
        file.LOG.append(0.5)
        done.set()

    class Net(file.Net):  # type: ignore[misc,name-defined]
        def forward(self, x: torch.Tensor) -> Any:
            work.set()
            done.wait(30)
            return super().forward(x)

    threading.Thread(target=train).start()
    graphmem.analyze(Net(), (torch.randn(2, 8, 16),))
    assert (file.STEP, file.LOSS, file.LOG) == (7, 0.5, [0.5])
    assert file.TABLE is None


def test_what_a_hook_writes_down_stays() -> None:
    """Somebody may analyse a model to see its shapes."""
    shapes: list[Any] = []
    kept: list[Any] = []
    module = nn.Linear(8, 8)
    module.register_forward_hook(lambda _module, _args, out: shapes.append(tuple(out.shape)) or kept.append(out))  # type: ignore[func-returns-value]
    graphmem.analyze(module, (torch.randn(4, 8),))
    assert (4, 8) in shapes
    assert kept == []
