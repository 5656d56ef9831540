"""The choice of a backend by release, cuDNN, GPU, environment and switches: facts in, backend out."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from graphmem.how import How
from graphmem.kernels.sdpa import choose, reachable
from graphmem.trace import trace
from support.sdpa_facts import FP32, FP64, chosen, facts, target


# attention_facts and the pull requests cited in graphmem/kernels/sdpa/order.py
@pytest.mark.parametrize(
    ("release", "hopper", "blackwell", "ampere"),
    [
        ("2.5.0", "cudnn", "flash", "flash"),
        ("2.5.1", "flash", "flash", "flash"),
        ("2.5", "flash", "flash", "flash"),
        ("2.8", "flash", "flash", "flash"),
        ("2.9", "cudnn", "cudnn", "flash"),
        ("2.10", "flash", "flash", "flash"),
        ("2.11", "cudnn", "cudnn", "flash"),
        ("2.13", "cudnn", "cudnn", "flash"),
    ],
)
def test_first_by_release(release, hopper, blackwell, ampere) -> None:
    assert [chosen(target(gpu, release)) for gpu in ("h100", "b200", "a100")] == [hopper, blackwell, ampere]


def test_first_by_cudnn() -> None:
    assert chosen(target("h100", "2.10", "9.19")) == "cudnn"
    assert chosen(target("h100", "2.13", "9.15.0")) == "flash"
    assert chosen(target("h100", "2.13", "9.15.1")) == "cudnn"


def test_first_by_environment(monkeypatch) -> None:
    monkeypatch.setenv("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1")
    assert chosen(target("h100", "2.13")) == "flash"
    assert chosen(target("h100", "2.9")) == "cudnn"
    monkeypatch.setenv("TORCH_CUDNN_SDPA_PREFERRED", "0")
    assert chosen(target("h100", "2.9")) == "flash"
    monkeypatch.setenv("TORCH_CUDNN_SDPA_PREFERRED", "1")
    assert chosen(target("h100", "2.8")) == "cudnn"


@pytest.mark.parametrize(
    ("gpu", "release", "head", "backend"),
    [
        ("h100", "2.11", 256, "cudnn"),
        ("b200", "2.11", 256, "flash"),
        ("b200", "2.11", 128, "cudnn"),
        ("a100", "2.13", 512, "efficient"),
        ("rtx4090", "2.13", 200, "efficient"),
        ("rtx4090", "2.13", 256, "flash"),
        ("t4", "2.13", 64, "math"),
        ("sm_125:8GiB", "2.13", 64, "math"),
    ],
)
def test_by_gpu_and_head_size(gpu, release, head, backend) -> None:
    assert chosen(target(gpu, release), head=head) == backend


def test_rules_that_came_with_a_release() -> None:
    dropout = {"dropout": 0.1}
    assert chosen(target("h100", "2.11"), **dropout) == "cudnn"
    assert chosen(target("h100", "2.12"), **dropout) == "flash"
    assert chosen(target("h100", "2.12"), dropout=0.125) == "cudnn"
    offsets = {"offsets_aligned": False, "mask": "float", "mask_requires_grad": True}
    assert chosen(target("a100", "2.12"), **offsets) == "efficient"
    assert chosen(target("a100", "2.13"), **offsets) == "math"


Q, KV = (2, 8, 128, 64), (2, 2, 128, 64)


@pytest.mark.parametrize(
    ("gpu", "changes", "backend", "steps"),
    [
        ("h100", {"dtypes": FP32, "k": KV, "v": KV, "gqa": True}, "efficient", ("repeat the key",)),
        ("a100", {"k": KV, "v": KV, "gqa": True, "mask": "bool"}, "cudnn", ("ask for it",)),
        ("h100", {"k": KV, "v": KV}, "cudnn", ("enable_gqa=True",)),
        ("h100", {"last_stride_1": False}, "cudnn", ("make q, k, v",)),
        ("a100", {"mask": "float", "q": (*Q[:3], 36), "k": (*Q[:3], 36), "v": (*Q[:3], 36)}, "efficient", ("pad",)),
        ("h100", {"disabled": frozenset({"cudnn", "flash", "efficient"})}, "cudnn", ("allow the cudnn backend",)),
        ("t4", {"mask": "float"}, "efficient", ("fp16",)),
        ("h100", {"q": Q[1:], "k": Q[1:], "v": Q[1:]}, "cudnn", ("pass q, k and v as (batch,",)),
    ],
)
def test_the_way_to_a_fused_kernel(gpu, changes, backend, steps) -> None:
    machine = target(gpu)
    assert chosen(machine, **changes) == "math"
    way = reachable(facts(machine, **changes), machine)
    assert way.backend == backend
    assert [step.startswith(start) for step, start in zip(way.steps, steps, strict=True)] == [True] * len(steps)
    assert choose(way.facts, machine)[0] == backend


def test_where_there_is_no_way() -> None:
    machine = target("v100")
    assert reachable(facts(machine, dtypes=FP64), machine).steps == ("fp16",)
    assert reachable(facts(machine, q=(2, 8, 0, 64)), machine) is None


# A float mask that is learned leaves cuDNN no way, so that flash and the efficient kernel are left.
BIAS = {"mask": "float", "mask_requires_grad": True, "mask_shape": (1, 8, 128, 128)}
HEAD_34 = {"q": (*Q[:3], 34), "k": (*KV[:3], 34), "v": (*KV[:3], 34), "gqa": True}
OFF = {"offsets_aligned": False}


@pytest.mark.parametrize(
    ("changes", "backend", "cost"),
    [
        ({"k": KV, "v": KV}, "cudnn", 1),
        ({"dtypes": FP32, **HEAD_34}, "efficient", 2),  # padded, and with repeated heads: less than half the precision
        ({"dtypes": FP32, **HEAD_34, **OFF}, "flash", 3),
        ({**BIAS, **HEAD_34}, "efficient", 2),  # less than no mask
        ({**BIAS, **HEAD_34, **OFF}, "flash", 3),
        ({"dtypes": FP64}, "cudnn", 3),
        ({"dtypes": FP64, "mask": "float", "mask_shape": (8, 128, 128), "mask_broadcasts": False}, "efficient", 3),
        ({"disabled": frozenset({"cudnn", "flash", "efficient"})}, "cudnn", 1),
    ],
)
def test_the_way_that_asks_least(changes, backend, cost) -> None:
    """What computes something else afterwards asks for as much as three other steps."""
    machine = target("h100")
    assert chosen(machine, **changes) == "math"
    way = reachable(facts(machine, **changes), machine)
    assert (way.backend, way.cost) == (backend, cost)


class Attends(nn.Module):
    def __init__(self, backends, **options) -> None:
        super().__init__()
        self.context = lambda: sdpa_kernel(backends, **options)

    def forward(self, q):
        with self.context():
            return F.scaled_dot_product_attention(q, q, q)


def test_an_order_that_the_code_sets() -> None:
    q = (torch.empty(2, 8, 128, 64, dtype=torch.bfloat16, device="meta", requires_grad=True),)
    efficient_first = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
    machine = How(machine=target())
    assert trace(Attends(efficient_first, set_priority=True), q, machine).sdpa[0].backend == "efficient"
    assert trace(Attends(efficient_first), q, machine).sdpa[0].backend == "cudnn"
    with sdpa_kernel(efficient_first, set_priority=True):
        around = trace(Attends(efficient_first), q, machine)
    assert around.sdpa[0].backend == "efficient"


def test_facts_are_plain_values() -> None:
    """They are compared, and read at other points."""
    machine = target()
    assert dataclasses.replace(facts(machine), q=Q) == facts(machine)
