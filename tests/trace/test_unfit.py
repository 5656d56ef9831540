"""Tensors that no fake one can stand for are refused by name; a subclass that is as good as a tensor is counted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import graphmem
from support.oracle import real_saved
from support.slow import first_of


class Packed(torch.Tensor):
    """As torchao's are: it says 16 numbers, and holds two."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Packed:
        return torch.Tensor._make_wrapper_subclass(cls, (16, 16), dtype=torch.float32)  # type: ignore[no-any-return,attr-defined]

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*(a.inner if isinstance(a, Packed) else a for a in args), **(kwargs or {}))


class Own(torch.Tensor):
    """It does something else in Python."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(func, types, args, kwargs or {})


class Named(torch.Tensor):
    """Only a name, and a method."""

    def doubled(self) -> torch.Tensor:
        return self * 2


class Net(nn.Module):
    def __init__(self, change: Callable[[nn.Module], object]) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        change(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).exp()  # type: ignore[no-any-return]


def _buffer(make: Callable[[], torch.Tensor]) -> Callable[[nn.Module], object]:
    return lambda module: module.register_buffer("q", make())


def _sparse() -> torch.Tensor:
    return torch.eye(16).to_sparse_csr()


def _quantized() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(16), 0.1, 0, torch.quint8)


def _nested(layout: torch.layout = torch.strided) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)


KINDS: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "csr": (_sparse, "is sparse_csr"),
    "coo": (lambda: torch.eye(16).to_sparse(), "is sparse_coo"),
    "mkldnn": (lambda: torch.eye(16).to_mkldnn(), "is _mkldnn"),
    "quantized": (_quantized, "is quantized"),
    "nested": (_nested, "is a nested tensor"),
    "jagged": (lambda: _nested(torch.jagged), "is a nested tensor"),
    "packed": (lambda: Packed(torch.ones(2)), "is a Packed, a subclass of torch.Tensor that runs operators itself"),
    "own function": (
        lambda: torch.ones(2, 8, 16).as_subclass(Own),
        "is a Own, a subclass of torch.Tensor with a __torch_function__ of its own",
    ),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such layouts are announced as being in beta
        yield


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["buffer q", "attribute q", "input 0", "input a.0"])
def test_a_tensor_of_another_kind_is_refused_by_name(kind: str, where: str) -> None:
    make, says = KINDS[kind]
    module: nn.Module = Net(_buffer(make)) if where == "buffer q" else Net(lambda _: None)
    if where == "attribute q":
        module.q = make()  # type: ignore[assignment]
    inputs: Any = {"input 0": lambda: (make(),), "input a.0": lambda: {"a": [make()]}}.get(
        where, lambda: (torch.randn(2, 8, 16),)
    )()
    with pytest.raises(graphmem.GraphmemError, match=f"{where} {says}") as error:
        graphmem.analyze(module, inputs)
    assert error.value.hint


@pytest.mark.parametrize("make", [lambda: nn.LazyLinear(16), lambda: nn.LazyBatchNorm1d()])
def test_a_lazy_module_has_to_be_run_once(make: Callable[[], nn.Module]) -> None:
    module = nn.Sequential(nn.Linear(16, 16), make())
    with pytest.raises(graphmem.GraphmemError, match=r"parameter 1.weight has no size yet"):
        graphmem.analyze(module, (torch.randn(2, 16),))
    module(torch.randn(2, 16))
    graphmem.analyze(module, (torch.randn(2, 16),))


@pytest.fixture
def mesh() -> Iterator[Any]:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield init_device_mesh("cpu", (2,))
    dist.destroy_process_group()


@pytest.mark.parametrize("placement", [Shard(0), Replicate()])
def test_a_dtensor_is_refused(mesh: Any, placement: Any) -> None:
    """Its size is that of all ranks' parts together."""
    module = Net(lambda _: None)
    x = torch.randn(2, 8, 16)
    with pytest.raises(graphmem.GraphmemError, match="input 0 is a DTensor"):
        graphmem.analyze(module, (distribute_tensor(x, mesh, [placement]),))
    module.linear.weight = nn.Parameter(distribute_tensor(module.linear.weight.detach(), mesh, [placement]))
    assert isinstance(module.linear.weight, DTensor)
    with pytest.raises(graphmem.GraphmemError, match=r"parameter linear.weight is a DTensor"):
        graphmem.analyze(module, (x,))


def test_a_subclass_that_is_as_good_as_a_tensor() -> None:
    x = torch.randn(2, 8, 16).as_subclass(Named)
    module = Net(lambda _: None)
    module.linear.weight = nn.Parameter(module.linear.weight.detach().as_subclass(Named))
    report = graphmem.analyze(module, (x,), device="cpu")
    assert report.saved.bytes == sum(real_saved(module, (x,)).elements())


@pytest.mark.parametrize("keeps", first_of(["attribute", "list", "dict"]))
def test_a_module_that_kept_its_last_input_is_the_same(keeps: str) -> None:
    class Keeps(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = {"attribute": x, "list": [x], "dict": {"x": x}}[keeps]
            return super().forward(x)

    module, x = Keeps(lambda _: None), torch.randn(2, 8, 16)
    before = graphmem.analyze(module, (x,))
    module(x)
    after = graphmem.analyze(module, (x,))
    assert after.saved == before.saved
    assert after.alive == before.alive
    assert after.verified.exact
    kept = module.last
    assert kept is x if keeps == "attribute" else x is next(iter(kept.values() if keeps == "dict" else kept))  # type: ignore[union-attr]


def test_a_parameter_under_a_second_name_stays_one() -> None:
    class Tied(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) @ self.__dict__["same"]  # type: ignore[no-any-return]

    module, x = Tied(lambda _: None), torch.randn(2, 8, 16)
    module.__dict__["same"] = module.linear.weight
    assert graphmem.analyze(module, (x,), device="cpu").saved.bytes == sum(real_saved(module, (x,)).elements())
