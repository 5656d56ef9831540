"""An analysis within modes of torch's gives what it gives outside, and they do not see it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import graphmem
from support.slow import first_of


def _saved() -> int:
    return graphmem.analyze(nn.Sequential(nn.Linear(16, 16), nn.Sigmoid()), (torch.randn(2, 8, 16),)).saved.bytes


@pytest.mark.parametrize(
    "mode",
    first_of(
        [
            FakeTensorMode,
            torch.no_grad,
            torch.inference_mode,
            torch.autograd.graph.save_on_cpu,
            lambda: torch.device("meta"),
        ],
        2,
    ),
)
def test_within_a_mode(mode: Callable[[], AbstractContextManager[object]]) -> None:
    expected = _saved()
    with mode():
        assert _saved() == expected


def test_a_counter_does_not_count_it() -> None:
    with FlopCounterMode(display=False) as counter:
        _saved()
    assert counter.get_total_flops() == 0


TRANSFORMS: dict[str, Callable[[Callable[[torch.Tensor], torch.Tensor]], object]] = {
    "vmap": lambda f: torch.vmap(f)(torch.ones(2, 3)),
    "grad": lambda f: torch.func.grad(lambda x: f(x).sum())(torch.ones(3)),
    "jvp": lambda f: torch.func.jvp(f, (torch.ones(3),), (torch.ones(3),)),
    "functionalize": lambda f: torch.func.functionalize(f)(torch.ones(3)),
    "jit.trace": lambda f: torch.jit.trace(f, torch.ones(3)),  # type: ignore[no-untyped-call]
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_within_a_transform_it_is_refused(name: str) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        graphmem.analyze(module, (inputs,))
        return x

    module, inputs = nn.Sigmoid(), torch.randn(2, 8, 16)

    with pytest.raises(graphmem.GraphmemError, match="transform"):
        TRANSFORMS[name](function)


def test_without_saved_tensor_hooks_it_is_refused() -> None:
    with (
        torch.autograd.graph.disable_saved_tensors_hooks("not here"),
        pytest.raises(graphmem.GraphmemError, match="switched off here"),
    ):
        _saved()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, GeneratorExit])
def test_an_interrupt_leaves_the_module_as_it_was(stop: type[BaseException]) -> None:
    class Stops(nn.Linear):
        armed = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = super().forward(x)
            if self.armed:
                raise stop
            return self.last

    module, x = Stops(16, 16), torch.randn(2, 16)
    with pytest.raises((KeyboardInterrupt, graphmem.GraphmemError)):
        graphmem.analyze(module, (x,))
    assert not hasattr(module, "last")
    assert type(module.weight) is nn.Parameter
    module.armed = False
    module(x).sum().backward()
    assert graphmem.analyze(module, (x,)).saved is not None
