"""An analysis beside other threads: analyses take turns, and a training loop does not notice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import graphmem
from graphmem._torch import lazy_seeds
from graphmem.patches import Here, patched
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


def test_a_training_loop_does_not_notice() -> None:
    alone = training(150)
    assert beside(lambda: training(150)) == alone


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


def test_an_analysis_within_another_does_not_wait_for_itself() -> None:
    with isolated(), isolated():
        assert graphmem.analyze(model, inputs).verified.exact


@pytest.mark.parametrize("beside_another", [False, True])
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


# As a file has them that took the names before the analysis.
_PYTHONS = (random.uniform, random.betavariate, random.gauss, random.randbytes, random.choice)
_NUMPYS = ("beta", "random_sample", "ranf", "standard_t", "bytes")


@pytest.mark.parametrize("draw", [*_PYTHONS, *_NUMPYS], ids=lambda f: getattr(f, "__name__", f))
def test_every_distribution_is_put_back_beside_another_thread(draw: Callable[..., object] | str) -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    before = random.getstate(), str(numpy.random.get_state())
    with isolated(), drawing():
        given = getattr(numpy.random, draw) if isinstance(draw, str) else draw
        given(*{"betavariate": (1, 1), "beta": (1, 1), "standard_t": (3,), "uniform": (0, 1), "choice": ([1, 2],),
                "gauss": (0, 1)}.get(given.__name__, (4,) if "bytes" in given.__name__ else ()))  # fmt: skip
        assert (random.getstate(), str(numpy.random.get_state())) != before
    stop.set()
    other.join()
    assert (random.getstate(), str(numpy.random.get_state())) == before


@pytest.mark.skipif(torch.cuda.is_initialized(), reason="then the GPUs' own generators are put back")
@pytest.mark.parametrize("beside_another", [False, True])
def test_the_seed_of_a_gpu_that_is_not_in_use_yet_is_put_back(beside_another: bool) -> None:
    def seeding(h: int = 16, L: int = 3) -> nn.Module:
        torch.manual_seed(1337)
        return model(h, L)

    torch.manual_seed(7)
    before = lazy_seeds()
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    if beside_another:
        other.start()
    graphmem.analyze(seeding, inputs)
    stop.set()
    assert lazy_seeds() == before


class Passed(TorchFunctionMode):
    """The keyword arguments with which a draw reaches torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.rand:
            return func(*args, **(kwargs or {}))
        self.kwargs = kwargs
        return None


@pytest.mark.parametrize(("device", "ours"), [("cpu", True), (None, True), (0, False), ("cuda", False)])
def test_a_generator_of_the_cpu_is_for_draws_on_the_cpu(device: object, ours: bool) -> None:
    """0 is the first GPU."""
    with Passed() as passed, drawing():
        torch.rand(2, device=device)
    assert ("generator" in passed.kwargs) is ours


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
