"""The library call: modules and factories, what is guessed, what is left untouched."""

import copy
import random

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import graphmem
from graphmem.errors import GraphmemError
from graphmem.kernels.registry import kernels_on
from support.slow import first_of


class Net(nn.Module):
    def __init__(self, h=32, f=64) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(h, f), nn.Linear(f, h)
        self.register_buffer("scale", torch.ones(1))
        self.seen = []
        self.last = None

    def forward(self, x):
        self.last = F.gelu(self.up(x))
        self.seen.append(self.last)
        return self.down(self.last) * self.scale


def test_a_real_module_is_as_before_afterwards() -> None:
    module = Net()
    twin = copy.deepcopy(module.state_dict())
    parameters = dict(module.named_parameters())
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    graphmem.analyze(module, (torch.randn(2, 8, 32),))
    assert {k: id(v) for k, v in module.named_parameters()} == {k: id(v) for k, v in parameters.items()}
    assert all(torch.equal(v, twin[k]) for k, v in module.state_dict().items())
    assert module.seen == []
    assert module.last is None
    assert random.getstate() == python_state
    # torch.randn above drew after the state was taken: draw the same again and compare
    torch.set_rng_state(torch_state)
    torch.randn(2, 8, 32)
    expected = torch.get_rng_state()
    torch.set_rng_state(torch_state)
    graphmem.analyze(module, (torch.randn(2, 8, 32),))
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_real_module_is_as_before_after_an_error() -> None:
    module = Net()
    before = {k: id(v) for k, v in module.named_parameters()}
    with pytest.raises(GraphmemError, match="forward raised"):
        graphmem.analyze(module, (torch.randn(2, 8, 31),))
    assert {k: id(v) for k, v in module.named_parameters()} == before
    assert module(torch.randn(2, 8, 32)).shape == (2, 8, 32)
    replaced = [function for function in kernels_on("cuda").replacements if function.__module__ == F.__name__]
    assert {getattr(F, function.__name__) for function in replaced} == set(replaced)  # the functions of torch again


@pytest.mark.parametrize("where", first_of(["cpu", "meta", "fake"], 2))
def test_module_on_any_device_gives_the_same(where) -> None:
    if where == "fake":
        with FakeTensorMode():
            module, x = Net(), torch.empty(2, 8, 32)
    else:
        with torch.device(where):
            module, x = Net(), torch.empty(2, 8, 32)
    report = graphmem.analyze(module, (x,))
    # gelu's input and result; the product with scale keeps the linear's result too, for scale's gradient no: a buffer.
    assert report.saved.bytes == 2 * (2 * 8 * 64 * 4)


def test_sizes_of_inputs_become_symbols_and_are_said() -> None:
    report = graphmem.analyze(Net(), (torch.randn(2, 8, 32),))
    assert report.symbols == {"b": 2, "s": 8}
    assert any("b = 2" in note for note in report.notes)
    assert report.at(b=5, s=100).saved.bytes == 2 * (5 * 100 * 64 * 4)
    assert report.verified.exact


def test_named_symbols() -> None:
    report = graphmem.analyze(Net(), (torch.randn(2, 8, 32),), symbols={"rows": 8})
    assert report.symbols == {"rows": 8}
    with pytest.raises(GraphmemError, match="no input has a dimension of size x=7"):
        graphmem.analyze(Net(), (torch.randn(2, 8, 32),), symbols={"x": 7})


def test_factories_with_other_values() -> None:
    def model(h=32, f=64):
        return Net(h, f)

    def inputs(b=2, s=8, h=32):
        return (torch.randn(b, s, h),)

    report = graphmem.analyze(model, inputs, symbols={"f": 128})
    assert report.saved.bytes == 2 * (2 * 8 * 128 * 4)
    assert str(report.saved.expr) == "8*b*f*s"
    with pytest.raises(GraphmemError, match="unknown symbol 'q'"):
        report.at(q=3)
    with pytest.raises(GraphmemError, match="positive integer"):
        report.at(s=0)


def _narrow(h=32, f=64, window=16):
    return Net(h, f or 8)


def _rows(b=2, s=8, h=32):
    return (torch.randn(b, s, h),)


@pytest.mark.slow
def test_whole_numbers_of_any_kind_are_symbols() -> None:
    report = graphmem.analyze(_narrow, _rows, symbols={"s": numpy.int64(4), "f": numpy.int32(48)})
    assert report.symbols == {"b": 2, "s": 4, "h": 32, "f": 48}
    assert report.at(s=numpy.int64(6)).symbols["s"] == 6
    assert type(report.at(s=numpy.int64(6)).saved.bytes) is int
    with_zero = graphmem.analyze(_narrow, _rows, symbols={"f": 0, "window": -1})  # what these mean is the model's
    assert with_zero.saved.bytes == 2 * (2 * 8 * 8 * 4)


@pytest.mark.parametrize(
    ("symbols", "said"),
    [
        ({"s": True}, "s takes a whole number, such as 8, not True"),
        ({"f": True}, "f takes a whole number, such as 64, not True"),
        ({"s": 32.0}, "s takes a whole number, such as 8, not 32.0"),
        ({"s": 0}, "s must be a positive integer, not 0"),
        ({"b": -1}, "b must be a positive integer, not -1"),
    ],
)
def test_no_symbol_is_dropped_for_its_value(symbols, said) -> None:
    with pytest.raises(GraphmemError, match=said):
        graphmem.analyze(_narrow, _rows, symbols=symbols)


def test_loss_releases_the_outputs() -> None:
    module, x = Net(), torch.randn(2, 8, 32)
    kept = graphmem.analyze(module, (x,))
    released = graphmem.analyze(module, (x,), loss=lambda y: y.sum())
    assert kept.saved.bytes == released.saved.bytes
    assert kept.alive.bytes - released.alive.bytes == 2 * 8 * 32 * 4 - 4


def test_what_is_given_must_go_together() -> None:
    with pytest.raises(GraphmemError, match="function for the inputs"):
        graphmem.analyze(lambda: Net(), (torch.randn(2, 8, 32),))
    with pytest.raises(GraphmemError, match="inputs is a function"):
        graphmem.analyze(Net(), lambda: (torch.randn(2, 8, 32),))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("dtype", torch.int8, "unknown dtype torch.int8"),
        ("dtype", 8, "unknown dtype 8"),
        ("autocast", 16, "unknown dtype 16"),
        ("torch_version", 2.11, "version 2.11: it is not a text"),
        ("cudnn_version", 9, "version 9: it is not a text"),
        ("gpu", 3, "unknown GPU 3"),
        ("assume", ["experts=worst"], r"assume is a dict, not \['experts=worst'\]"),
        ("assume", {88: 3}, "cannot assume 88=3"),
        ("input", "x=int64[b,s]", "input is a dict, not 'x=int64"),
        ("symbols", ["b"], r"symbols is a dict, not \['b'\]"),
        ("symbols", {"b": [2]}, r"b must be a positive integer, not \[2\]"),
        ("symbols", {"b": 2.0}, "b must be a positive integer, not 2.0"),
        ("symbols", {"b": True}, "b must be a positive integer, not True"),
    ],
    ids=lambda x: str(x)[:9].replace("gpu", "a gpu"),
)
def test_slips_of_the_pen_are_errors_that_say_so(option, value, said) -> None:
    with pytest.raises(GraphmemError, match=said) as error:
        graphmem.analyze(Net(), (torch.randn(2, 8, 32),), **{option: value})
    assert error.value.hint


def test_an_unknown_gpu_is_suggested() -> None:
    with pytest.raises(GraphmemError) as error:
        graphmem.analyze(Net(), (torch.randn(2, 8, 32),), gpu="a10")
    assert "a100" in str(error.value)


@pytest.mark.slow
def test_batch_of_one_is_derived_from_two_where_it_holds() -> None:
    """At b = 1 a transpose is contiguous, so operators differ; the sizes need not."""

    def model(h=32):
        return Swap(h)

    def inputs(b=1, s=8, h=32):
        return (torch.randn(b, s, h),)

    report = graphmem.analyze(model, inputs)
    fresh = graphmem.analyze(model, inputs, symbols={"b": 4, "s": 11})
    assert "b" in report.symbols
    assert report.at(b=4, s=11).saved.bytes == fresh.saved.bytes
    assert report.saved.bytes == graphmem.analyze(Swap(32), (torch.randn(1, 8, 32),)).saved.bytes


class Swap(nn.Module):
    def __init__(self, h) -> None:
        super().__init__()
        self.f = nn.Linear(h, h)

    def forward(self, x):
        return self.f(x.transpose(0, 1).reshape(-1, x.shape[-1]).relu()).tanh()


def test_an_operator_that_writes_in_place_keeps_what_it_overwrites() -> None:
    """Autograd clones it first, and what it saves is the clone: PyTorch's own node says so."""

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(8, 8)

        def forward(self, x):
            x = self.body(x).sigmoid()
            x /= x.sum(-1, keepdim=True)
            return x

    module = Normalised()
    assert type(module(torch.zeros(4, 8)).grad_fn).__name__ == "DivBackward0"
    kept = graphmem.analyze(module, (torch.zeros(4, 8),)).analysis.derived.kept
    assert {(k.op.name, k.keepers) for k in kept if k.table == "saved"} == {
        ("aten.sigmoid.default", ("SigmoidBackward0",)),
        ("aten.clone.default", ("DivBackward0",)),
        ("aten.sum.dim_IntList", ("DivBackward0",)),
    }
