"""Models with saved-tensor hooks of their own: what their hooks keep is saved, on whatever device it lies."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import graphmem
from support.oracle import real_saved
from support.reports import predicted
from support.slow import first_of, one_of

FP8 = torch.float8_e4m3fn


class Packed:
    """A tensor in eight bits, and its scale."""

    alive: ClassVar[weakref.WeakSet[Packed]] = weakref.WeakSet()

    def __init__(self, tensor: torch.Tensor) -> None:
        self.scale = tensor.abs().amax() / 448
        self.tensor = (tensor / self.scale).to(FP8)
        Packed.alive.add(self)

    def get(self) -> torch.Tensor:
        return self.tensor.to(self.scale.dtype) * self.scale


class Manager:
    """Gives autograd numbers and keeps the tensors itself: large ones in eight bits, small ones as they are."""

    def __init__(self, least: int) -> None:
        self.least, self.kept = least, dict[int, Any]()

    def hooks(self) -> saved_tensors_hooks:
        self.kept.clear()
        return saved_tensors_hooks(self.pack, lambda number: self.get(self.kept.pop(number)))

    def pack(self, tensor: torch.Tensor) -> int:
        self.kept[len(self.kept)] = tensor if tensor.numel() < self.least else tensor.to(FP8)
        return len(self.kept) - 1

    def get(self, kept: torch.Tensor) -> torch.Tensor:
        return kept.float() if kept.dtype is FP8 else kept


def in_fp8() -> saved_tensors_hooks:
    return saved_tensors_hooks(Packed, lambda packed: packed.get())


def captured() -> saved_tensors_hooks:
    """What the node holds is a function, and the tensor is in its closure."""
    return saved_tensors_hooks(lambda t: (lambda small: lambda: small)(t.to(FP8)), lambda get: get().float())


class Net(nn.Module):
    """Two layers within the hooks, and one without. `dead`: a branch within that does not reach the loss."""

    def __init__(self, hooks: Callable[[], Any], h: int = 16, dead: bool = False) -> None:
        super().__init__()
        self.hooks, self.dead = hooks, dead
        self.first, self.second, self.last = nn.Linear(h, 2 * h), nn.Linear(2 * h, h), nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.hooks():
            if self.dead:
                self.first(x).sigmoid().exp()
            x = self.second(nn.functional.gelu(self.first(x)))
        return self.last(x).tanh().sum()


def inputs(b: int = 2, s: int = 24, h: int = 16) -> tuple[torch.Tensor]:
    return (torch.randn(b, s, h),)


def outside() -> int:
    """What `last` and tanh keep outside of the hooks, and tanh's result is kept once: 2 storages of b·s·h floats."""
    return 2 * 2 * 24 * 16 * 4


def really_packed(module: nn.Module) -> Counter[int]:
    Packed.alive.clear()
    loss = module(*inputs())
    gc.collect()
    sizes = Counter(t.untyped_storage().nbytes() for p in Packed.alive for t in (p.tensor, p.scale))
    del loss
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("dead", [False, True], ids=["", "with a branch that nothing needs"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_packed_into_fewer_bits(device: str, dead: bool) -> None:
    report = graphmem.analyze(lambda h=16: Net(in_fp8, h, dead), inputs, device=device)
    really = really_packed(Net(in_fp8, dead=dead))
    assert predicted(report) == really + Counter([outside() // 2] * 2)
    assert report.verified.exact
    assert {"float8_e4m3fn"} <= {node.dtype for node in report.nodes}
    kept = {node.kept_by for node in report.nodes if node.dtype == "float8_e4m3fn"}
    assert {name for names in kept for name in names} == {"AddmmBackward0", "GeluBackward0"}
    assert "held otherwise" not in {row.what for row in report.not_counted}


OWN = {"fp8": in_fp8, "closure": captured, "save_on_cpu": save_on_cpu, "pinned": lambda: save_on_cpu(pin_memory=True)}


@pytest.mark.parametrize("hooks", one_of(["closure"], OWN, str))
def test_a_real_run_keeps_the_same(hooks: str) -> None:
    (point,) = graphmem.validate(Net(OWN[hooks]), inputs(), device="cpu").points
    assert point.exact
    assert point.measured is not None
    assert point.measured.saved_bytes > outside()


LEAST = [0, SOME := 2 * 24 * 20, 10**6]


@pytest.mark.slow
@pytest.mark.parametrize("least", LEAST, ids=["packed", "some", "as they are"])
def test_hooks_that_keep_the_tensors_elsewhere_and_give_autograd_a_number(least: int) -> None:
    (point,) = graphmem.validate(lambda h=16: Net(Manager(least).hooks, h), inputs, device="cpu").points
    assert point.exact
    assert point.measured is not None
    manager = Manager(least)
    own = Net(manager.hooks)
    loss = own(*(given := inputs()))
    before = {t.data_ptr() for t in (*own.parameters(), *given)}
    kept = {t.data_ptr(): t.untyped_storage().nbytes() for t in manager.kept.values() if t.data_ptr() not in before}
    del loss
    assert point.measured.saved_bytes == point.predicted.saved_bytes == sum(kept.values()) + outside()


def test_on_the_cpu_what_is_saved_on_the_cpu_is_the_tensor_itself() -> None:
    report = graphmem.analyze(lambda h=16: Net(save_on_cpu, h), inputs, device="cpu")
    assert predicted(report) == real_saved(Net(nullcontext), inputs())


def copies(module: nn.Module) -> Iterator[int]:
    """Bytes of every copy that save_on_cpu would make for a GPU: of whatever a node packs, parameters too."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Copy:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor, self.nbytes = tensor, tensor.numel() * tensor.itemsize
            alive.add(self)

    module.hooks = lambda: saved_tensors_hooks(Copy, lambda copy: copy.tensor)
    loss = module(*inputs())
    gc.collect()
    yield from (copy.nbytes for copy in alive)
    del loss


@pytest.mark.slow
@pytest.mark.parametrize("hooks", ["save_on_cpu", "pinned"])
def test_what_lies_on_the_cpu_is_no_memory_of_the_gpu_and_has_a_row(hooks: str) -> None:
    report = graphmem.analyze(lambda h=16: Net(OWN[hooks], h), inputs)
    assert report.saved.bytes == outside()
    (row,) = (row for row in report.not_counted if row.what == "saved elsewhere")
    assert row.bytes == sum(copies(Net(nullcontext)))
    assert row.expr is not None
    assert report.at(s=40).saved.bytes == 2 * 2 * 40 * 16 * 4


class Whole(nn.Module):
    """All of it within the hooks, or in one checkpoint."""

    def __init__(self, how: str, h: int) -> None:
        super().__init__()
        self.how, self.first, self.second = how, nn.Linear(h, h), nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "checkpoint":
            return checkpoint(self.body, x, use_reentrant=False)
        with save_on_cpu() if self.how == "save_on_cpu" else torch.set_grad_enabled(self.how != "no_grad"):
            return self.body(x)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).sin())


@pytest.mark.parametrize(
    ("how", "says"),
    first_of(
        [
            ("save_on_cpu", "all that is saved for backward lies on another device"),
            ("checkpoint", "autograd keeps nothing that forward made"),
            ("no_grad", "nothing requires a gradient"),
        ]
    ),
)
def test_why_nothing_is_saved(how: str, says: str) -> None:
    report = graphmem.analyze(lambda h=16: Whole(how, h), inputs)
    assert report.saved.bytes == 0
    notes = [n for n in report.notes if "autograd keeps nothing" in n or "lies on another" in n]
    assert len(notes) == 1
    assert says in notes[0]


class Both(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.hooks():
            x = checkpoint(lambda y: self.second(self.first(y).relu()), x.sin(), use_reentrant=False)
        return checkpoint(self.inside, x, use_reentrant=False).tanh().sum()

    def inside(self, x: torch.Tensor) -> torch.Tensor:
        with self.hooks():
            return self.last(x.exp())


@pytest.mark.slow
def test_a_checkpoint_within_hooks_and_hooks_within_a_checkpoint() -> None:
    really = really_packed(Both(in_fp8))
    report = graphmem.analyze(Both(in_fp8), inputs(), device="cpu")
    assert not (really - predicted(report))


@pytest.mark.slow
def test_a_real_run_of_both_keeps_the_same() -> None:
    (point,) = graphmem.validate(Both(in_fp8), inputs(), device="cpu").points
    assert point.exact
