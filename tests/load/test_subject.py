"""Factories as people write them, and models that behave by more than their sizes."""

from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import graphmem
from graphmem.errors import TargetError
from graphmem.load import Wishes, load_target
from graphmem.load.blank import Blank, is_blank
from support.oracle import real_saved
from support.repo import ROOT


def inputs(b=2, s=5, h=16):
    return (torch.randn(b, s, h),)


def test_moves_to_a_device_are_dropped_and_changes_of_dtype_are_not() -> None:
    with Blank():
        layer = nn.Linear(4, 4).to("cuda").to("cuda:0", torch.bfloat16).to(torch.device("cuda"), non_blocking=True)
        tensor = torch.randn(3).to(0).cuda().pin_memory().to(dtype=torch.float16, device="cuda")
        like = torch.zeros(2).to(torch.zeros(1, dtype=torch.int64))
        made = torch.zeros(2, device="cuda")
    assert layer.weight.dtype == torch.bfloat16
    assert (tensor.dtype, like.dtype) == (torch.float16, torch.int64)
    assert {t.device.type for t in (layer.weight, tensor, like, made)} == {"cpu"}


def test_large_tensors_are_blank_and_small_ones_real() -> None:
    with Blank():
        assert is_blank(torch.empty(2**20, 2**20))
        assert torch.linspace(0, 1, 5)[4].item() == 1
        assert torch.tensor([1, 2]).tolist() == [1, 2]


def test_a_huge_model_costs_nothing() -> None:
    subject = load_target(str(ROOT / "samples" / "llama.py"), Wishes(settings={"h": 2**16, "f": 2**18, "L": 2}))
    module = subject.build(subject.symbols)
    assert sum(p.numel() for p in module.parameters()) > 10**11


class Block(nn.Module):
    def __init__(self, h) -> None:
        super().__init__()
        self.f, self.g = nn.Linear(h, h), nn.Linear(h, h)

    def forward(self, x):
        return x + self.f(x).tanh() * self.g(x)


class SomeCheckpointed(nn.Module):
    def __init__(self, h, L, some) -> None:
        super().__init__()
        self.layers, self.some = nn.ModuleList(Block(h) for _ in range(L)), some

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = checkpoint(layer, x, use_reentrant=False) if i < self.some else layer(x)
        return x


class Dropped(SomeCheckpointed):
    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu() if torch.rand([]) < self.some else x
        return x


@pytest.mark.slow
def test_layers_that_forward_treats_by_their_number() -> None:
    """Nothing of the modules shows it: only a trace of all of them does."""

    def model(h=16, L=12, some=9):
        return SomeCheckpointed(h, L, some)

    report = graphmem.analyze(model, inputs)
    plain, kept = (
        2 * 5 * 16 * 4,
        9 + 3 * 3,
    )  # each checkpointed layer keeps its input; the others their own and two more
    assert report.saved.bytes == (kept + 0) * plain - plain  # the first one's input is the caller's
    assert any("not alike" in note for note in report.notes)


@pytest.mark.slow
def test_layer_drop_is_not_folded() -> None:
    def model(h=16, L=12, some=0.5):
        return Dropped(h, L, some)

    report = graphmem.analyze(model, inputs)
    ran = sum(n.count for n in report.nodes if n.op == "aten.tanh.default")
    assert 1 < ran < 12
    assert any("random number" in note for note in report.notes)


def test_layers_directly_in_a_sequential_are_counted() -> None:
    def model(h=16, L=12):
        return nn.Sequential(*[Block(h) for _ in range(L)])

    assert "L" in graphmem.analyze(model, inputs).symbols


@pytest.mark.slow
def test_classes_defined_in_the_factory_are_the_same_class() -> None:
    def model(h=16, L=12):
        class Inner(Block):
            pass

        class Outer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.ModuleList(Inner(h) for _ in range(L))

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x

        return Outer()

    assert "L" in graphmem.analyze(model, inputs).symbols


def test_selection_by_a_known_mask() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.o = nn.Embedding(10, 8), nn.Linear(8, 8)

        def forward(self, ids, labels):
            return self.o(self.e(ids)[labels != -100]).tanh()

    labels = torch.full((2, 6), -100)
    labels[:, 1:3] = 1
    report = graphmem.analyze(Masked(), (torch.ones(2, 6, dtype=torch.long), labels), symbols={"h": 6})
    tanh = next(n for n in report.nodes if n.op == "aten.tanh.default")
    assert tanh.shape == (4, 8)


@pytest.mark.slow
def test_inference_mode_around_the_call_changes_nothing() -> None:
    outside = graphmem.analyze(Block(16), inputs())
    with torch.inference_mode():
        assert graphmem.analyze(Block(16), inputs()).saved.bytes == outside.saved.bytes
    with torch.no_grad():
        assert graphmem.analyze(Block(16), inputs()).saved.bytes == outside.saved.bytes


def test_one_tensor_given_twice_stays_one() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.o = nn.Embedding(10, 8), nn.Linear(8, 10)

        def forward(self, input_ids, labels):
            logits = self.o(self.e(input_ids))
            return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())}

    ids = torch.ones(2, 6, dtype=torch.long)
    report = graphmem.analyze(Model(), {"input_ids": ids, "labels": ids})
    assert set(report.symbols) == {"b", "s"}
    assert report.verified.exact


def test_nothing_kept_is_said() -> None:
    module = Block(16).requires_grad_(False)
    report = graphmem.analyze(module, inputs())
    assert report.saved.bytes == 0
    assert any("keeps nothing" in note for note in report.notes)


Pair = namedtuple("Pair", ["x", "mask"])


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(8, 8)

    def forward(self, x, mask=None):
        x, mask = x if mask is None else (x, mask)
        return (self.f(x) * mask).sigmoid()


def pair(b=2, s=6):
    return Pair(torch.randn(b, s, 8), torch.ones(b, s, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "given", [pytest.param((Masked(), pair()), marks=pytest.mark.slow), (Masked, pair)], ids=["module", "functions"]
)
def test_inputs_are_a_namedtuple(given) -> None:
    module, inputs = given
    report = graphmem.analyze(module, inputs, device="cpu")
    assert report.verified.exact
    real = real_saved(Masked(), tuple(pair()))
    assert report.saved.bytes == sum(size * n for size, n in real.items())
    assert graphmem.validate(module, inputs, device="cpu", sweep={"b": [2, 3]}).exact


def test_a_namedtuple_inside_the_inputs_is_refused() -> None:
    for given in ((Masked(), {"x": pair()}), (Masked(), (pair(),)), (Masked, lambda b=2: ([pair(b)],))):
        with pytest.raises(TargetError, match="the inputs have a Pair of tensors inside"):
            graphmem.analyze(*given, device="cpu")
