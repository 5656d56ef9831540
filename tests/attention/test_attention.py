"""What is found as attention, of which kind, what is not, and what each keeps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphmem
from graphmem.attention import KINDS, PARTS, find_attention
from graphmem.attention.example import Attending, example_input
from graphmem.record.flow import Flow
from graphmem.trace import trace
from graphmem.usercode.isolate import isolated
from support import small_models
from support.slow import first_of


def examples(which):
    return [
        pytest.param(kind, example, id=f"{kind.__name__.rpartition('.')[2]}-{name}")
        for kind in KINDS
        for name, example in getattr(kind, which).items()
    ]


def traced(example, target):
    with torch.device("meta"):
        module = Attending(example)
    return trace(module, example_input(), target)


@pytest.mark.parametrize(("kind", "example"), examples("GOOD"))
def test_good_examples_are_found_by_their_kind(kind, example, h100) -> None:
    with isolated():
        record = traced(example, h100)
    found = find_attention(record)
    assert found
    assert found == kind.find(Flow(record))
    kept = [(site.part(k), k) for site in found for k in site.kept(graphmem.accounts.saved.sort_storages(record))]
    assert kept
    assert all(name in PARTS for part, _ in kept for name in part.split(" + "))
    assert not [k for part, k in kept if part == "other"]


@pytest.mark.parametrize(("kind", "example"), examples("BAD"))
def test_bad_examples_are_not(kind, example, h100) -> None:
    assert kind.find(Flow(traced(example, h100))) == []


def test_every_kind_has_examples() -> None:
    for kind in KINDS:
        assert kind.GOOD
        assert kind.BAD


def kinds(name, **options):
    make, inputs = small_models.MODELS[name]
    return [(a.kind, a.kernel, a.count) for a in graphmem.analyze(make(), inputs(), **options).attention]


@pytest.mark.slow
def test_sdpa_follows_the_target() -> None:
    """fp32 on an H100 takes the efficient kernel; so does a V100. On the CPU torch chooses."""
    assert kinds("sdpa causal") == [("flash", "sdpa.efficient", 1)]
    assert kinds("sdpa causal", gpu="v100") == [("flash", "sdpa.efficient", 1)]
    assert kinds("sdpa causal", device="cpu") == [("flash", "sdpa.flash_for_cpu", 1)]
    assert kinds("sdpa causal", autocast="bf16", torch_version="2.11", cudnn_version="9.19") == [
        ("flash", "sdpa.cudnn", 1)
    ]
    assert kinds("sdpa causal", autocast="bf16", gpu="a100") == [("flash", "sdpa.flash", 1)]
    assert kinds("sdpa gqa") == [("standard", "sdpa.math", 1)]


def test_why_names_the_first_rule_that_refused() -> None:
    make, inputs = small_models.MODELS["sdpa gqa"]
    (row,) = graphmem.analyze(make(), inputs()).attention
    assert "not cudnn: float32" in row.why
    assert "not efficient: grouped query" in row.why


class Heads(nn.Module):
    """q, k, v of (b, 4, s, 16), and what is made of them; `other` heads for keys and values."""

    def __init__(self, attend, other=4) -> None:
        super().__init__()
        self.attend, self.other = attend, other
        self.q, self.k, self.v = nn.Linear(64, 64), nn.Linear(64, 16 * other), nn.Linear(64, 16 * other)

    def forward(self, x):
        q, k, v = (
            f(x).unflatten(-1, (n, 16)).transpose(1, 2)
            for f, n in ((self.q, 4), (self.k, self.other), (self.v, self.other))
        )
        return self.attend(q, k, v)


def attention_of(attend, dtype=torch.float32, other=4, b=2, s=24, **options):
    x = (torch.empty(b, s, 64, dtype=dtype, device="meta"),)
    (row,) = graphmem.analyze(Heads(attend, other).to(dtype), x, **options).attention
    return row


def softmax_attention(q, k, v):
    return F.dropout((q @ k.mT / 4).softmax(-1), 0.1) @ v


def parts(row):
    return {p.name: p.size.bytes for p in row.parts}


def test_what_written_out_attention_keeps() -> None:
    """b=2, 4 heads of 16, s=24, fp32: q, k, v 12,288 each; softmax and dropout's output 18,432 each, its mask 4,608."""
    row = attention_of(softmax_attention)
    each = 2 * 4 * 24
    assert parts(row) == {
        "q": each * 16 * 4,
        "k": each * 16 * 4,
        "v": each * 16 * 4,
        "probabilities": 2 * each * 24 * 4,
        "dropout mask": each * 24,
    }
    assert sum(parts(row).values()) == row.size.bytes


def test_what_a_fused_kernel_keeps() -> None:
    """attention_facts 3b: the efficient kernel's logsumexp is padded to 32."""
    row = attention_of(F.scaled_dot_product_attention)
    each = 2 * 4 * 24 * 16 * 4
    assert parts(row) == {"q": each, "k": each, "v": each, "output": each, "lse": 2 * 4 * 32 * 4}


def kept_by(attend, dtype, **options):
    return attention_of(attend, dtype, **options).size.bytes


@pytest.mark.parametrize("dtype", first_of([torch.float32, torch.bfloat16]))
def test_what_it_would_keep_instead_is_what_that_keeps(dtype) -> None:
    """The promise is the same number as analysing the model that was changed."""
    gpu = {"torch_version": "2.11", "cudnn_version": "9.19"}
    row = attention_of(softmax_attention, dtype, **gpu)
    changed = attention_of(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.1), dtype, **gpu)
    assert (row.instead.kernel, row.instead.bytes) == (changed.kernel, changed.size.bytes)
    assert row.instead.how == "scaled_dot_product_attention"


@pytest.mark.slow
def test_instead_where_v_is_in_another_dtype() -> None:
    """No kernel takes that, so the way is the one of calls in fp32."""

    def attend(q, k, v):
        return (q.bfloat16() @ k.bfloat16().mT / 4).float().softmax(-1) @ v

    def in_bf16(q, k, v):
        return F.scaled_dot_product_attention(q.bfloat16(), k.bfloat16(), v.bfloat16())

    row = attention_of(attend)
    assert row.instead.how == "scaled_dot_product_attention; bf16 or fp16, as under torch.autocast"
    assert row.instead.bytes == kept_by(in_bf16, torch.float32)


@pytest.mark.slow
def test_instead_of_the_math_path() -> None:
    def grouped(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    def repeated(q, k, v):
        return F.scaled_dot_product_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))

    row = attention_of(grouped, other=2)
    assert row.kernel == "sdpa.math"
    assert (row.instead.kernel, row.instead.how) == ("sdpa.efficient", "repeat the key and value heads")
    assert row.instead.bytes == kept_by(repeated, torch.float32, other=2)


@pytest.mark.slow
def test_instead_with_a_mask() -> None:
    def masked(shape):
        def attend(q, k, v):
            mask = torch.zeros(shape, device=q.device, dtype=q.dtype)
            return (q @ k.mT / 4 + mask).softmax(-1) @ v

        return attend

    one = attention_of(masked((256, 256)), torch.bfloat16, s=256)
    assert one.instead.how == "scaled_dot_product_attention with is_causal=True, if the mask is only causal"
    by_batch = attention_of(masked((2, 1, 256, 256)), torch.bfloat16, s=256)
    assert by_batch.instead.how == "scaled_dot_product_attention, with the mask as attn_mask"

    def fused(q, k, v):
        mask = torch.zeros((2, 1, 256, 256), device=q.device, dtype=q.dtype)
        return F.scaled_dot_product_attention(q, k, v, mask)

    assert by_batch.instead.bytes == kept_by(fused, torch.bfloat16, s=256)


@pytest.mark.slow
def test_instead_with_a_learned_bias() -> None:
    class Biased(nn.Module):
        def __init__(self, attend) -> None:
            super().__init__()
            self.bias, self.heads = nn.Parameter(torch.zeros(4, 256, 256)), Heads(self.attend)
            self.function = attend

        def attend(self, q, k, v):
            return self.function(q, k, v, (self.bias * 2)[None])

        def forward(self, x):
            return self.heads(x)

    def report(attend):
        x = (torch.empty(2, 256, 64, dtype=torch.bfloat16, device="meta"),)
        (row,) = graphmem.analyze(Biased(attend).bfloat16(), x).attention
        return row

    row = report(lambda q, k, v, bias: (q @ k.mT / 4 + bias).softmax(-1) @ v)
    assert "with the bias as attn_mask" in row.instead.how
    fused = report(F.scaled_dot_product_attention)
    assert (row.instead.kernel, row.instead.bytes) == (fused.kernel, fused.size.bytes)


class MadeInAPart(nn.Module):
    """An attention, the root of what is analysed, with a mask that another module inside it makes."""

    def __init__(self, attend) -> None:
        super().__init__()
        self.bias, self.heads, self.attend = MakesBias(), Heads(lambda *qkv: qkv), attend

    def forward(self, x):
        return self.attend(*self.heads(x), self.bias(x.shape[1]))


class MakesBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(4, 512, 512))

    def forward(self, s):
        return (self.bias[:, :s, :s] * 2)[None]


@pytest.mark.slow
def test_instead_with_a_bias_made_in_a_part_of_an_attention_that_is_the_root() -> None:
    def row_of(attend):
        x = (torch.empty(2, 256, 64, dtype=torch.bfloat16, device="meta"),)
        (row,) = graphmem.analyze(MadeInAPart(attend).bfloat16(), x).attention
        return row

    row = row_of(lambda q, k, v, bias: (q @ k.mT / 4 + bias).softmax(-1) @ v)
    fused = row_of(F.scaled_dot_product_attention)
    assert (row.instead.kernel, row.instead.bytes) == (fused.kernel, fused.size.bytes)


def test_nothing_instead_where_it_would_keep_more() -> None:
    assert attention_of(softmax_attention, torch.bfloat16, s=6).instead is None


@pytest.mark.slow
def test_nothing_instead_of_what_no_fused_kernel_does() -> None:
    assert attention_of(lambda q, k, v: (q @ k.mT / 4).sigmoid() @ v, torch.bfloat16, s=256).instead is None
    assert attention_of(lambda q, k, v: (q @ k.mT / 4).relu().square() @ v, torch.bfloat16, s=256).instead is None


def capped_attention(q, k, v):
    return ((q @ k.mT / 4 / 30).tanh() * 30).softmax(-1) @ v


@pytest.mark.slow
def test_instead_where_only_flex_attention_fits() -> None:
    row = attention_of(capped_attention, torch.bfloat16)
    assert row.instead.kernel == "flex"
    assert "score_mod for tanh" in row.instead.how
    each = 2 * 4 * 24
    assert row.instead.bytes == 4 * each * 16 * 2 + each * 4 + 4 * 4  # q, k, v, output; lse; the empty block mask


@pytest.mark.slow
def test_instead_in_a_process_that_has_compiled_nothing() -> None:
    """torch.compile's package is not imported there before it is needed, and no other test is in such a process."""
    code = "from test_attention import *; print(attention_of(capped_attention, torch.bfloat16).instead.kernel)"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = [sys.executable, "-c", code]
    assert subprocess.check_output(run, text=True, env={**os.environ, "PYTHONPATH": paths}) == "flex\n"


def test_what_is_fused_already_has_nothing_instead() -> None:
    assert attention_of(F.scaled_dot_product_attention).instead is None
