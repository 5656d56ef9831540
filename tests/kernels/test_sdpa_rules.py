"""The choice of a backend by release, cuDNN, GPU, environment and switches: facts in, backend out."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from graphmem.how import How
from graphmem.kernels.sdpa import choose, reachable
from graphmem.kernels.sdpa.order import order
from graphmem.kernels.sdpa.rules import RULES
from graphmem.machine import resolve
from graphmem.record import SdpaFacts
from graphmem.trace import trace

BF16 = (torch.bfloat16,) * 3


def target(gpu="h100", torch_version="2.13", cudnn=None):
    return resolve(gpu=gpu, device="cuda", torch_version=torch_version, cudnn_version=cudnn)


def facts(machine, head=64, **changes):
    shape, unset = (2, 8, 128, head), tuple(torch._C._get_sdp_priority_order())
    return SdpaFacts(**{"q": shape, "k": shape, "v": shape, "dtypes": BF16, "order": order(machine, unset), **changes})


def chosen(machine, **changes):
    return choose(facts(machine, **changes), machine)[0]


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


def sizes(q=64, k=None, v=None, batch=(2, 2, 2), heads=(8, 8, 8)):
    """Changes to the facts: head sizes, batch sizes and numbers of heads of q, k and v."""
    every = zip("qkv", batch, heads, (q, q if k is None else k, q if v is None else v), strict=True)
    return {name: (b, a, 128, d) for name, b, a, d in every}


FP32, FP16 = (torch.float32,) * 3, (torch.float16,) * 3
# Backend, GPU, release, what is just taken, and what is just refused.
LIMITS = [
    ("flash", "h100", "2.13", sizes(256), sizes(257)),
    ("flash", "rtx4090", "2.13", sizes(192), sizes(193)),
    ("flash", "rtx4090", "2.13", sizes(225), sizes(224)),
    (
        "flash",
        "rtx4090",
        "2.13",
        {**sizes(225), "requires_grad": False, "dropout": 0.1},
        {**sizes(225), "dropout": 0.1},
    ),
    ("flash", "a100", "2.13", sizes(200), sizes(64, v=72)),
    ("efficient", "a100", "2.13", sizes(16), sizes(12)),
    ("efficient", "a100", "2.13", sizes(16, v=8), sizes(16, v=12)),
    ("efficient", "a100", "2.13", {**sizes(12), "dtypes": FP32}, {**sizes(10), "dtypes": FP32}),
    ("efficient", "v100", "2.13", {**sizes(8), "dtypes": FP16}, {**sizes(4), "dtypes": FP16}),
    ("efficient", "v100", "2.13", {**sizes(1), "dtypes": FP32}, sizes(64)),
    ("efficient", "a100", "2.13", sizes(64), sizes(64, k=72)),
    ("efficient", "h100", "2.13", sizes(64), sizes(64, heads=(8, 2, 2))),
    ("cudnn", "h100", "2.13", sizes(256), sizes(264)),
    ("cudnn", "a100", "2.13", sizes(128), sizes(136)),
    ("cudnn", "h100", "2.13", sizes(64), sizes(60)),
    ("cudnn", "h100", "2.13", {"dropout": 0.0625}, {"dropout": 0.06}),
    ("cudnn", "b200", "2.13", sizes(192, v=128), sizes(192)),
    ("cudnn", "h100", "2.13", sizes(64), sizes(64, batch=(2, 1, 1))),
    ("cudnn", "h100", "2.13", {**sizes(64, heads=(8, 2, 2)), "gqa": True}, {**sizes(64, heads=(8, 3, 3)), "gqa": True}),
]


@pytest.mark.parametrize(("backend", "gpu", "release", "taken", "refused"), LIMITS)
def test_where_a_rule_begins(backend, gpu, release, taken, refused) -> None:
    machine = target(gpu, release)
    assert chosen(machine, order=(backend,), **taken) == backend
    assert chosen(machine, order=(backend,), **refused) is None


@pytest.mark.parametrize(("cudnn", "dropout"), [("9.11.0", True), ("9.12", False), ("9.13.9", False), ("9.14", True)])
def test_releases_of_cudnn_without_dropout(cudnn, dropout) -> None:
    machine = target("h100", "2.11", cudnn)
    assert (chosen(machine, order=("cudnn",), dropout=0.25) == "cudnn") == dropout


@pytest.mark.parametrize(("cudnn", "backend"), [("8.9", None), ("9.0", "cudnn"), ("9.9", "cudnn")])
def test_cudnn_has_to_be_there(cudnn, backend) -> None:
    assert chosen(target("h100", "2.13", cudnn), order=("cudnn",)) == backend


@pytest.mark.parametrize(("cudnn", "limit"), [("9.9", 128), ("9.10", 256)])
def test_the_largest_head_of_cudnn(cudnn, limit) -> None:
    machine = target("h100", "2.13", cudnn)
    assert chosen(machine, order=("cudnn",), **sizes(limit)) == "cudnn"
    assert chosen(machine, order=("cudnn",), **sizes(limit + 8)) is None


def test_every_rule_says_where_it_comes_from() -> None:
    for rules in RULES.values():
        for rule in rules:
            assert rule.source
            assert (rule.change is None) == (not rule.remedy)


# -- the way to a fused kernel ---------------------------------------------------------------------------------------

Q, KV = (2, 8, 128, 64), (2, 2, 128, 64)


@pytest.mark.parametrize(
    ("gpu", "changes", "backend", "steps"),
    [
        ("h100", {"dtypes": (torch.float32,) * 3, "k": KV, "v": KV, "gqa": True}, "efficient", ("repeat the key",)),
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
    assert reachable(facts(machine, dtypes=(torch.float64,) * 3), machine).steps == ("fp16",)
    assert reachable(facts(machine, q=(2, 8, 0, 64)), machine) is None


# -- what the model's code sets --------------------------------------------------------------------------------------


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
