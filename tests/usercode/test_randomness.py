"""Generators: what the user's code draws is put back, whoever else draws."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import graphmem
from graphmem._torch import lazy_seeds
from graphmem.usercode.isolate import isolated
from graphmem.usercode.randomness import drawing
from support.slow import first_of

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
@pytest.mark.parametrize("beside_another", first_of([False, True]))
def test_the_seed_of_a_gpu_that_is_not_in_use_yet_is_put_back(beside_another: bool) -> None:
    def seeding(h: int = 16) -> nn.Module:
        torch.manual_seed(1337)
        return nn.Linear(h, h)

    def inputs(b: int = 2, h: int = 16) -> tuple[torch.Tensor]:
        return (torch.empty(b, h),)

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
