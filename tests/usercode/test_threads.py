"""An analysis beside other threads: analyses take turns, and a training loop does not notice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphmem
from graphmem.analysis.fit import fit
from graphmem.linter.engine import check
from graphmem.patches import Here, patched
from graphmem.trace import forward
from graphmem.usercode import isolate
from graphmem.usercode.isolate import isolated
from graphmem.usercode.randomness import drawing


class Block(nn.Module):
    def __init__(self, h: int = 16, a: int = 2) -> None:
        super().__init__()
        self.a, self.qkv, self.down = a, nn.Linear(h, 3 * h), nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        return x + F.dropout(self.down(y), 0.2)


def model(h: int = 16, L: int = 3) -> nn.Module:
    return nn.Sequential(*[Block(h) for _ in range(L)])


def inputs(b: int = 2, s: int = 24, h: int = 16) -> tuple[torch.Tensor]:
    return (torch.randn(b, s, h),)


def training(steps: int) -> tuple[list[float], int]:
    """Losses of a run that draws from torch's own generator, and how often its modules were called."""
    torch.manual_seed(3)
    net, calls = nn.Sequential(Block(), Block()), []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        loss = net(torch.randn(2, 8, 16)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        assert torch.cuda.is_available() is (torch.cuda.device_count() > 0)
    return losses, len(calls)


def beside(work: Callable[[], object]) -> object:
    """The result of `work` in this thread, while another one analyses over and over."""
    stop, failed = threading.Event(), []

    def analyse() -> None:
        while not stop.is_set():
            try:
                graphmem.analyze(model, inputs)
            except BaseException as error:
                failed.append(error)
                return

    thread = threading.Thread(target=analyse)
    thread.start()
    try:
        return work()
    finally:
        stop.set()
        thread.join()
        assert not failed, failed


@pytest.mark.slow
def test_a_training_loop_does_not_notice() -> None:
    alone = training(60)
    assert beside(lambda: training(60)) == alone


@pytest.mark.slow
def test_analyses_take_turns() -> None:
    expected = graphmem.analyze(model, inputs)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(graphmem.analyze(model, inputs))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


@pytest.mark.slow
def test_an_analysis_within_another_does_not_wait_for_itself() -> None:
    with isolated(), isolated():
        assert graphmem.analyze(model, inputs).verified.exact


def written_out(h: int = 16) -> nn.Module:
    class Attention(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=2))
            weights = (q @ k.mT / 4).softmax(-1)
            y: torch.Tensor = self.down((weights @ v).transpose(1, 2).flatten(2))
            return y

    return Attention(h)


@pytest.mark.slow
def test_whatever_is_asked_of_a_report_takes_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs, then or later, while another thread could begin to analyse."""
    run, lock, free = forward.run_forward, isolate._ONE_AT_A_TIME, list[bool]()

    def could_begin() -> None:
        free.append(lock.acquire(blocking=False))
        if free[-1]:
            lock.release()

    def looking(*args: Any) -> Any:
        other = threading.Thread(target=could_begin)
        other.start()
        other.join()
        return run(*args)

    monkeypatch.setattr(forward, "run_forward", looking)
    report = graphmem.analyze(written_out, inputs)
    for ask in (lambda: report.at(b=1), lambda: check(report, select=["GM101"]), lambda: fit(report, "h", 2**30, 0)):
        free.clear()
        ask()
        assert free
        assert not any(free)


@pytest.mark.slow
@pytest.mark.parametrize("beside_another", [pytest.param(False, marks=pytest.mark.slow), True])
def test_what_the_users_code_draws_is_put_back(beside_another: bool) -> None:
    def drawing_inputs(b: int = 2, s: int = 24, h: int = 16) -> tuple[torch.Tensor]:
        random.random()
        torch.empty(3).bernoulli_()
        return inputs(b, s, h)

    torch.manual_seed(1)
    before = random.getstate(), torch.get_rng_state()
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    if beside_another:
        other.start()
    graphmem.analyze(model, drawing_inputs)
    stop.set()
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_what_somebody_else_draws_is_not_taken_back() -> None:
    torch.manual_seed(1)
    with isolated():
        first = torch.rand(1)  # as another thread would
        with drawing():
            pass
    assert torch.rand(1) != first


def test_a_replacement_is_for_one_thread() -> None:
    class Owner:
        @staticmethod
        def answer() -> str:
            return "original"

    seen: list[str] = []
    original = Owner.answer
    with patched(Owner, "answer", lambda: "replaced"):
        kept, here = Owner.answer, Here()
        seen.append(Owner.answer())
        other = threading.Thread(target=lambda: seen.extend([Owner.answer(), str(bool(here))]))
        other.start()
        other.join()
    assert seen == ["replaced", "original", "False"]
    assert kept() == Owner.answer() == "original"
    assert Owner.answer is original
