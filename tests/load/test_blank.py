"""What is built without weights cannot tell: it says that it is on the CPU, and works together with what has values."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import graphmem
from graphmem.cli import main
from graphmem.errors import ModelError
from graphmem.load.blank import Blank, is_blank
from support.oracle import real_saved
from support.reports import predicted
from support.slow import first_of

LARGE = 2**18


@pytest.fixture
def building() -> Iterator[None]:
    with Blank():
        yield


def test_it_says_that_it_is_on_the_cpu(building: None) -> None:
    layer = nn.Linear(512, 512)
    for weight in (layer.weight, layer.weight.data, layer.weight[:3], layer.bfloat16().weight, layer.weight * 2):
        assert (weight.device, weight.device.type, weight.is_meta, weight.is_cpu) == (
            torch.device("cpu"), "cpu", False, True,
        )  # fmt: skip
        assert is_blank(weight)


def test_weights_that_are_not_tied_are_not_at_one_address(building: None) -> None:
    one, other = nn.Linear(512, 512).weight, nn.Linear(512, 512).weight
    assert one.data_ptr() != other.data_ptr()
    assert one.view(-1).data_ptr() == one.data_ptr() != one[1:].data_ptr() != 0


def test_what_its_author_wants_on_meta_says_so(building: None) -> None:
    with torch.device("meta"):
        layer = nn.Linear(4, 4)
    tensors = [layer.weight, layer.bfloat16().weight, torch.zeros(3, device="meta"), torch.ones(2).to("meta")]
    tensors.append(torch.zeros_like(torch.ones(2), device="meta"))
    assert all(t.is_meta for t in tensors)
    assert not torch.empty(LARGE).is_meta


def test_a_tensor_made_where_a_weight_is_goes_together_with_it(building: None) -> None:
    weight = torch.empty(LARGE)
    small = torch.arange(4, device=weight.device, dtype=weight.dtype)
    assert small.tolist() == [0, 1, 2, 3]
    for mixed in (weight[:4] * small, torch.cat([small, weight]), torch.where(small > 1, weight[:4], small)):
        assert is_blank(mixed)
    assert is_blank(torch.zeros_like(weight, device=weight.device))
    assert not is_blank(small)


def test_a_small_tensor_that_a_weight_is_written_to_has_no_values_any_more(building: None) -> None:
    weight = torch.empty(LARGE)
    copied, added, item = torch.zeros(4), torch.zeros(4), torch.zeros(4)
    copied.copy_(weight[:4])
    added += weight[:4]
    item[1:3] = weight[:2]
    whole = torch.zeros(8)
    whole[2:6].copy_(weight[:4])
    part = (other := torch.zeros(8))[:4]
    part *= weight[:4]
    assert all(map(is_blank, (copied, added, item, whole, part, other)))
    assert part.data_ptr() == other.data_ptr()
    another = (third := torch.zeros(8))[:4]
    with pytest.raises(RuntimeError, match="others are views"):
        third.copy_(weight[:8])
    assert another.tolist() == [0] * 4


class Adapted(nn.Module):
    """A library's layer: the adapter gets the base's dtype, unless it is on meta and so will be loaded later."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(base.in_features, rank), nn.Linear(rank, base.out_features)
        for part in (self.down, self.up):
            if not any(p.device == torch.device("meta") for p in part.parameters()):
                part.to(base.weight.device, dtype=base.weight.dtype)
        self.scale = nn.Parameter(self.base.weight[:, 0] * torch.arange(base.out_features, device=base.weight.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x.to(self.down.weight.dtype))).tanh() * self.scale


@pytest.mark.parametrize("h", first_of([32, 512]))
def test_what_a_library_does_to_weights_it_does_to_blank_ones(h: int) -> None:
    def model(h: int = h) -> nn.Module:
        return Adapted(nn.Linear(h, h).bfloat16(), 2 * h)

    def inputs(b: int = 2, s: int = 6, h: int = h) -> tuple[torch.Tensor]:
        return (torch.randn(b, s, h, dtype=torch.bfloat16),)

    assert predicted(graphmem.analyze(model, inputs, device="cpu")) == real_saved(model(), inputs())


WAYS_TO_A_GPU = {
    "made there": lambda: torch.zeros(64, 8, device="cuda"),
    "made at an index": lambda: torch.ones(64, 8, device=0),
    "made from values": lambda: torch.tensor([[0.0] * 8] * 64, device=torch.device("cuda", 0)),
    "moved": lambda: torch.zeros(64, 8).cuda(),
    "moved to": lambda: torch.zeros(64, 8).to("cuda"),
    "moved and cast": lambda: torch.zeros(64, 8, dtype=torch.float64).to(device="cuda", dtype=torch.float32),
    "worked on": lambda: (torch.arange(64, device="cuda")[:, None] * torch.ones(8, device="cuda")).sin(),
    "a view": lambda: torch.zeros(8, 64, device="cuda").T,
    "where another is": lambda: torch.ones(64, 8, device=torch.zeros(1, device="cuda").device),
    "a large one": lambda: torch.zeros(64, LARGE, device="cuda")[:, :8],
}


class Placed(nn.Module):
    """A plain tensor that __init__ puts on a GPU in one of several ways, and forward uses as it is."""

    def __init__(self, way: str, h: int = 8) -> None:
        super().__init__()
        self.f = nn.Linear(h, h)
        if way == "in a block":
            with torch.device("cuda"):
                self.table = torch.zeros(64, h)
        elif way == "by default":
            torch.set_default_device("cuda")
            self.table = torch.zeros(64, h)
        else:
            self.table = WAYS_TO_A_GPU[way]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.f(x) + self.table[: x.shape[1]]).relu()


def placed_inputs(b: int = 2, s: int = 16, h: int = 8) -> tuple[torch.Tensor]:
    return (torch.zeros(b, s, h),)


@pytest.mark.parametrize("way", [*WAYS_TO_A_GPU, "in a block", "by default"])
def test_a_plain_tensor_that_the_constructor_puts_on_a_gpu(way) -> None:
    report = graphmem.analyze(lambda h=8: Placed(way, h), placed_inputs, gpu="h100")
    assert report.saved.bytes == 4 * 2 * 16 * 8  # relu's result; the input needs no gradient


@pytest.mark.parametrize(
    "back",
    [lambda t: t.cpu(), lambda t: t.to("cpu"), lambda t: torch.zeros(64, 8), lambda t: torch.zeros(64, 8).copy_(t)],
)
def test_a_plain_tensor_on_the_cpu_is_named(back) -> None:
    def model(h: int = 8) -> nn.Module:
        net = Placed("moved", h)
        net.table = back(net.table)
        return nn.Sequential(net)

    with pytest.raises(ModelError, match="same device") as found:
        graphmem.analyze(model, placed_inputs, gpu="h100")
    assert "0.table is a plain tensor on the CPU" in str(found.value)
    assert "self.register_buffer('table', ..., persistent=False)" in str(found.value)


LLAMA = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 50,
         "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
TARGETS = {
    "factories.py": "import torch\nfrom torch import nn\ndef model(h=4):\n    return nn.Linear(h, h)\n"
    "def inputs(b=2, h=4):\n    return torch.randn(b, h)\n",
    "discovered.py": "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, n_embd=8):\n"
    "        super().__init__()\n        self.f = nn.Linear(n_embd, n_embd)\n"
    "    def forward(self, x):\n        return self.f(x).sigmoid()\n",
    "config.json": json.dumps(LLAMA),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("nth", range(3))
def test_ctrl_c_where_it_begins_leaves_nothing_on_the_stack_of_modes(name, nth, tmp_path, monkeypatch) -> None:
    (tmp_path / name).write_text(TARGETS[name])
    enter, begun = Blank.__enter__, []

    def interrupted(self: Blank) -> Blank:
        enter(self)
        if len(begun) == nth:
            signal.raise_signal(signal.SIGINT)
        begun.append(self)
        return self

    monkeypatch.setattr(Blank, "__enter__", interrupted)
    assert main(["analyze", str(tmp_path / name)]) == 2
    assert torch._C._len_torch_function_stack() == 0
