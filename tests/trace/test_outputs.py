"""Tensors are found in whatever forward returns, and an output without one is an error."""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import graphmem
from graphmem.trace.outputs import loss_of, output_tensors
from support.slow import first_of


class Plain:
    def __init__(self, y: torch.Tensor) -> None:
        self.y = y


class Slots:
    __slots__ = ("other", "y")

    def __init__(self, y: torch.Tensor) -> None:
        self.y = y


@dataclasses.dataclass
class Data:
    y: torch.Tensor
    also: Any = None


class Answers:
    """As a mock does: something, whatever is asked."""

    def __init__(self, y: torch.Tensor) -> None:
        self.y = y

    def __getattr__(self, name: str) -> str:
        return name


class Raises(Answers):
    def __getattr__(self, name: str) -> str:
        raise ZeroDivisionError

    @property
    def loss(self) -> torch.Tensor:
        raise KeyError("loss")


def _in_itself(y: torch.Tensor) -> list[Any]:
    found: list[Any] = [y]
    found.append({"again": found})
    return found


def _deep(y: torch.Tensor) -> Any:
    for _ in range(5000):
        y = [y]  # type: ignore[assignment]
    return y


def _data_in_itself(y: torch.Tensor) -> Data:
    data = Data(y)
    data.also = [data]
    return data


HOLD: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda y: y, "plain": Plain, "slots": Slots, "data": Data, "answers": Answers, "raises": Raises,
    "itself": _in_itself, "deep": _deep, "data in itself": _data_in_itself,
    "space": lambda y: types.SimpleNamespace(y=y), "user dict": lambda y: collections.UserDict(y=y),
    "proxy": lambda y: types.MappingProxyType({"y": y}), "deque": lambda y: collections.deque([y]),
    "chain": lambda y: collections.ChainMap({}, {"y": y}), "user list": lambda y: collections.UserList([y]),
    "frozen set": lambda y: frozenset([y]), "nested": lambda y: {"a": (1, [Plain(Plain(y))])},  # type: ignore[arg-type]
}  # fmt: skip


class Net(nn.Module):
    def __init__(self, make: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b, self.make = nn.Linear(16, 16), nn.Linear(16, 16), make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(self.b(self.a(x).exp()))


@pytest.mark.parametrize("name", first_of(HOLD, 3))
def test_what_holds_the_output_does_not_change_what_is_saved(name: str) -> None:
    report = graphmem.analyze(Net(HOLD[name]), (torch.randn(2, 8, 16),))
    assert report.saved.bytes == 2 * 8 * 16 * 4  # exp's result, which the second layer reads too
    y = torch.ones(1)
    assert output_tensors(HOLD[name](y)) == [y]


def test_a_distribution_keeps_what_its_normalisation_saves() -> None:
    def make(y: torch.Tensor) -> Any:
        return torch.distributions.Categorical(logits=y, validate_args=False)

    def written_out(y: torch.Tensor) -> Any:
        return y - y.logsumexp(-1, keepdim=True)

    x = torch.randn(2, 8, 16)
    assert graphmem.analyze(Net(make), (x,)).saved == graphmem.analyze(Net(written_out), (x,)).saved


def _generated(y: torch.Tensor) -> Iterator[torch.Tensor]:
    yield y


NOTHING: dict[str, Callable[[torch.Tensor], Any]] = {
    "None": lambda _: None, "generator": _generated, "number": lambda _: 3, "empty": lambda _: {},
    "loss": lambda _: {"loss": 3},
    "function": lambda y: lambda: y, "object": lambda _: object(), "text": lambda _: "loss",
}  # fmt: skip


@pytest.mark.parametrize("name", first_of(NOTHING, 3))
def test_an_output_without_a_tensor_is_an_error(name: str) -> None:
    x = torch.randn(2, 8, 16)
    with pytest.raises(graphmem.GraphmemError, match="in which there is no tensor") as error:
        graphmem.analyze(Net(NOTHING[name]), (x,))
    assert "loss(output)" in str(error.value.hint)
    with pytest.raises(graphmem.GraphmemError):
        graphmem.assert_fits(Net(NOTHING[name]), (x,), budget="1B")


def test_an_output_that_raises_is_an_error_of_the_model() -> None:
    class Bad(dict):  # type: ignore[type-arg]
        def values(self) -> Any:
            raise RuntimeError("not now")

    with pytest.raises(graphmem.GraphmemError, match="what forward returned raised RuntimeError: not now"):
        graphmem.analyze(Net(lambda y: Bad(y=y)), (torch.randn(2, 8, 16),))


def test_the_loss_of_any_output() -> None:
    loss = torch.ones(())
    assert loss_of(types.SimpleNamespace(loss=loss)) is loss
    assert loss_of(collections.UserDict(loss=loss)) is loss
    assert loss_of({"loss": 3.0}) is None
    assert loss_of(Raises(loss)) is None
    assert loss_of(None) is None
