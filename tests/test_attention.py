"""What is found as attention, of which kind, and what is not."""

import pytest
import small_models
import torch
from torch import nn

import graphmem

EAGER = [
    "scale after", "scale before", "float mask", "bool mask", "mask in place", "baddbmm", "einsum", "alibi",
    "relative bias", "softcap", "float32 softmax", "attention dropout", "gqa repeated", "gqa einsum", "cross attention",
]  # fmt: skip


def kinds(name, **options):
    make, inputs = small_models.MODELS[name]
    return [(a.kind, a.kernel, a.count) for a in graphmem.analyze(make(), inputs(), **options).attention]


@pytest.mark.parametrize("name", EAGER)
def test_written_by_hand(name):
    assert kinds(name) == [("standard", "eager", 1)]


@pytest.mark.parametrize("name", ["linear attention"])
def test_no_attention_of_that_kind(name):
    assert kinds(name) == []


def test_sdpa_follows_the_target():
    """fp32 on an H100 takes the efficient kernel; so does a V100. On the CPU torch chooses."""
    assert kinds("sdpa causal") == [("flash", "sdpa.efficient", 1)]
    assert kinds("sdpa causal", gpu="v100") == [("flash", "sdpa.efficient", 1)]
    assert kinds("sdpa causal", device="cpu") == [("flash", "sdpa.flash_for_cpu", 1)]
    assert kinds("sdpa causal", autocast="bf16", torch_version="2.11", cudnn_version="9.19") == [
        ("flash", "sdpa.cudnn", 1)
    ]
    assert kinds("sdpa causal", autocast="bf16", gpu="a100") == [("flash", "sdpa.flash", 1)]
    assert kinds("sdpa gqa") == [("standard", "sdpa.math", 1)]


def test_why_names_the_first_rule_that_refused():
    make, inputs = small_models.MODELS["sdpa gqa"]
    (row,) = graphmem.analyze(make(), inputs()).attention
    assert "not cudnn: float32" in row.why
    assert "not efficient: grouped query" in row.why


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.b(self.a(x).softmax(-1))


class Router(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(16, 4)
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

    def forward(self, x):
        weights = self.router(x).softmax(-1)
        return sum(weights[..., i, None] * expert(x) for i, expert in enumerate(self.experts))


@pytest.mark.parametrize("module", [Classifier(), Router()], ids=lambda m: type(m).__name__)
def test_a_softmax_over_classes_or_experts_is_none(module):
    assert graphmem.analyze(module, (torch.randn(2, 5, 16),)).attention == ()


def test_what_an_attention_keeps():
    """q, k, v, the probabilities; b=2, 3 heads of 16, s=18, fp32."""
    make, inputs = small_models.MODELS["scale after"]
    (row,) = graphmem.analyze(make(), inputs()).attention
    assert row.size.bytes == 3 * (2 * 18 * 48 * 4) + 2 * 3 * 18 * 18 * 4
