"""The formulas: what they read, and that they hold where nothing was traced."""

import pytest
import sympy
import torch
from torch import nn

import graphmem
from graphmem.errors import GraphmemError
from graphmem.symbolic.text import formula
from support.oracle import real_saved
from support.reports import MEASURED, of_sample
from support.slow import one_of


def read(expression, report):
    return formula(expression, report.symbols, report.depth)


def module(report, path):
    return next(m for m in report.modules if m.path == path)


@pytest.mark.slow
def test_the_textbook_layer() -> None:
    report = of_sample("megatron_layer.py")
    assert read(report.saved.expr, report) == "34sbh + 5as²b + s² + 16sb"
    assert read(module(report, "1.attention").each, report) == "11sbh + 5as²b + s²"
    assert read(module(report, "1.mlp").each, report) == "19sbh"
    assert report.attention[0].kind == "standard"


@pytest.mark.slow
def test_the_block_of_issue_899() -> None:
    report = of_sample("flash_block.py")
    assert read(report.saved.expr, report) == "10sbh + 4abs + 24"
    assert read(report.alive.expr, report) == "12sbh + 4abs + 24"
    assert (report.attention[0].kind, report.attention[0].kernel) == ("flash", "sdpa.flash")
    # Measured on an H100 at these sizes: 403,178,496 bytes allocated, the block's input and output included.
    assert report.alive.allocated_bytes == 403_178_496


@pytest.mark.slow
def test_gpt2_eager_and_fused() -> None:
    eager = of_sample("gpt2.py")
    assert read(eager.saved.expr, eager).startswith("L(34sbh + 5as²b + s² + 16sb) + 2sbv")
    fused = of_sample("gpt2.py", attn="sdpa")
    assert sympy.degree(fused.saved.expr, next(x for x in fused.saved.expr.free_symbols if x.name == "s")) == 1


@pytest.mark.slow
def test_llama_with_every_symbol() -> None:
    report = of_sample("llama.py")
    assert set(report.symbols) == {"b", "s", "h", "a", "k", "f", "L", "v"}
    assert read(report.saved.expr, report).startswith("L(8sbf + 12sbh + 4sbhk/a + 4abs + 8sb + 16)")


POINTS = {
    "megatron_layer.py": [{"b": 3, "s": 100}, {"b": 1, "s": 77, "h": 96, "a": 8}, {"b": 7, "s": 513, "h": 512, "a": 4}],
    "gpt2.py": [{"b": 3, "s": 1000, "L": 1}, {"b": 2, "s": 77, "L": 7, "v": 1234}, {"b": 5, "h": 1024, "a": 16}],
    "llama.py": [
        {"b": 3, "s": 1000, "L": 1},
        {"s": 77, "L": 9, "v": 99, "k": 4},
        {"b": 5, "h": 1024, "a": 8, "f": 777},
    ],
    "flash_block.py": [{"b": 5, "s": 999}, {"b": 2, "h": 4096, "a": 16}, {"b": 3, "s": 31, "h": 512, "a": 64}],
}


@pytest.mark.slow
@pytest.mark.parametrize("sample", one_of(["megatron_layer.py"], POINTS, str))
def test_three_points_that_were_never_traced(sample) -> None:
    report = of_sample(sample)
    assert report.verified.exact
    for point in POINTS[sample]:
        fresh = of_sample(sample, **point)
        there = report.at(**point)
        assert there.saved.bytes == fresh.saved.bytes, point
        assert there.saved.allocated_bytes == fresh.saved.allocated_bytes, point
        assert there.alive.bytes == fresh.alive.bytes, point
        assert {a.kernel for a in there.attention} == {a.kernel for a in fresh.attention}


@pytest.mark.slow
def test_expressions_give_the_bytes() -> None:
    report = of_sample("llama.py")
    values = {s: report.symbols[s.name] for s in report.saved.expr.free_symbols}
    assert report.saved.expr.subs(values) == report.saved.bytes
    for node in report.nodes:
        assert node.size.expr.subs(values) == node.size.bytes == node.count * node.each_bytes
        assert node.proved


@pytest.mark.parametrize("sample", one_of(["flash_block.py"], POINTS, str))
def test_rows_add_up(sample) -> None:
    report = of_sample(sample)
    assert sum(n.size.bytes for n in report.nodes) == report.saved.bytes
    assert sum(m.own.bytes for m in report.modules) == report.saved.bytes
    assert report.modules[0].size.bytes == report.saved.bytes
    for row in report.modules:
        inside = [m for m in report.modules if m.path == row.path or m.path.startswith(row.path and row.path + ".")]
        assert sum(m.own.bytes for m in inside) == row.size.bytes
    outputs = sum(n.bytes for n in report.not_counted if n.what in ("output", "held otherwise"))
    assert report.alive.bytes == report.saved.bytes + outputs


@pytest.mark.slow
def test_a_point_where_another_kernel_would_run_is_refused() -> None:
    """Head size 512: no fused kernel with grouped query takes that."""
    report = of_sample("llama.py")
    with pytest.raises(GraphmemError, match=r"runs math.*head size 512"):
        report.at(h=8192, a=16, k=4)
    block = of_sample("flash_block.py")
    assert block.at(s=77).saved.bytes == of_sample("flash_block.py", s=77).saved.bytes
    with pytest.raises(GraphmemError, match="the traced kernel padded heads"):
        block.at(h=8192 - 32)


EFFICIENT = """
import torch, torch.nn as nn, torch.nn.functional as F
class A(nn.Module):
    def __init__(self, h, a):
        super().__init__()
        self.a, self.q = a, nn.Linear(h, 3 * h)
    def forward(self, x, m=None):
        b, t, h = x.shape
        q, k, v = self.q(x).view(b, t, 3, self.a, h // self.a).permute(2, 0, 3, 1, 4)
        if m is not None:
            m = m[:, None, None, :].expand(b, 1, t, t)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=m)
def model(h=64, a=4): return A(h, a)
"""
PLAIN = "def inputs(b=2, s=24, h=64): return {'x': torch.randn(b, s, h)}\n"
MASKED = "def inputs(b=2, s=24, h=64): return {'x': torch.randn(b, s, h), 'm': torch.ones(b, s, dtype=torch.bool)}\n"


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [pytest.param(PLAIN, marks=pytest.mark.slow), MASKED], ids=["no mask", "mask"])
@pytest.mark.parametrize("s", [8, 24, 32, 33, 512, 1000])
def test_a_size_that_the_kernel_rounds_up(inputs, s, tmp_path) -> None:
    """The efficient kernel's logsumexp is padded to 32; a proof within one such step would prove nothing."""
    (tmp_path / "model.py").write_text(EFFICIENT + inputs)

    def at(**settings):
        return graphmem.analyze(str(tmp_path / "model.py"), symbols=settings, **MEASURED)

    report = at(s=s)
    assert report.verified.exact
    assert "ceil32(s)" in read(report.saved.expr, report)
    for other in (s + 8, s + 16, 3 * s, 96):
        if "m" not in inputs or (other % 8 == 0) == (s % 8 == 0):
            assert report.at(s=other).saved.bytes == at(s=other).saved.bytes, other


class Patches(nn.Module):
    """An image of any size, cut into patches, with or without a token more."""

    def __init__(self, h, p, token) -> None:
        super().__init__()
        self.cut, self.token = nn.Conv2d(3, h, p, stride=p), nn.Parameter(torch.zeros(1, 1, h)) if token else None
        self.up, self.down = nn.Linear(h, 4 * h), nn.Linear(4 * h, h)

    def forward(self, image):
        x = self.cut(image).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        return (x + self.down(self.up(x).relu())).mean(1)


@pytest.mark.slow
@pytest.mark.parametrize("token", [pytest.param(False, marks=pytest.mark.slow), True])
def test_patches_of_an_image_of_any_size(token) -> None:
    def image(b=2, r=64):
        return (torch.randn(b, 3, r, r),)

    report = graphmem.analyze(lambda h=32, p=8: Patches(h, p, token), image, device="cpu")
    assert report.verified.exact
    assert {"b", "r", "h", "p"} <= set(report.symbols)
    assert "floor(r/p)" in formula(report.saved.expr, report.symbols)
    for h, p, sizes in ((32, 8, {"b": 3, "r": 71}), (48, 4, {"b": 1, "r": 32}), (16, 14, {"b": 2, "r": 224})):
        real = real_saved(Patches(h, p, token), image(**sizes))
        assert report.at(h=h, p=p, **sizes).saved.bytes == sum(size * n for size, n in real.items())
