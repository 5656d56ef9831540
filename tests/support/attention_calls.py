"""Calls of attention beyond the 1,927 of h100_sdpa.json.gz: odd lengths, layouts, packed views, masks of every shape.

Each is a function of leaf tensors. tests/measure/measure_attention.py runs them on a GPU,
tests/kernels/test_attention_calls.py analyses the same functions without one.
"""

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

BF16, FP16, FP32, BOOL = torch.bfloat16, torch.float16, torch.float32, torch.bool
sdpa = F.scaled_dot_product_attention


class Call(nn.Module):
    def __init__(self, forward, around=contextlib.nullcontext) -> None:
        super().__init__()
        self.function, self.around = forward, around

    def forward(self, *leaves):
        with self.around():
            return self.function(*leaves)


def plain(
    q, k=None, v=None, mask=None, dtype=BF16, mask_dtype=None, around=contextlib.nullcontext, mask_grad=False, **kw
):
    """Contiguous q, k, v of the given shapes (b, heads, s, head size)."""
    k = k or q
    leaves = [(q, dtype, True), (k, dtype, True), (v or k, dtype, True)]
    if mask is not None:
        leaves.append((mask, mask_dtype or dtype, mask_grad))
    return leaves, Call(lambda q, k, v, *m: sdpa(q, k, v, *m, **kw), around)


def from_leaves(*leaves, forward, around=contextlib.nullcontext):
    return [(shape, dtype, True) for shape, dtype in leaves], Call(forward, around)


def packed(b, s, a, d, order, dtype=BF16, **kw):
    """One projection of (b, s, 3·a·d): "thd" as (3, heads, d), "htd" as (heads, 3, d); q, k, v are views of it."""

    def forward(x):
        if order == "thd":
            q, k, v = x.view(b, s, 3, a, d).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = x.view(b, s, a, 3, d).permute(3, 0, 2, 1, 4)
        return sdpa(q, k, v, **kw)

    return [((b, s, 3 * a * d), dtype, True)], Call(forward)


def only(*backends):
    return lambda: sdpa_kernel(list(backends))


@contextlib.contextmanager
def reduced_math():
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def flex(s=256, d=64, k=4, dtype=BF16, causal=False, transposed=False, compiled=False, score_mod=None):
    """flex_attention on (2, 4, s, d), compiled afresh where asked for."""

    def forward(*qkv):
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        torch.compiler.reset()
        mask = None
        if causal:
            mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, s, s, device=qkv[0].device)
        qkv = [x.transpose(1, 2) for x in qkv] if transposed else qkv
        function = torch.compile(flex_attention) if compiled else flex_attention
        return function(*qkv, score_mod=score_mod, block_mask=mask, enable_gqa=k != 4)

    shapes = [(2, s, heads, d) if transposed else (2, heads, s, d) for heads in (4, k, k)]
    return [(shape, dtype, True) for shape in shapes], Call(forward)


def varlen(d):
    def forward(q, k, v):
        from torch.nn.attention.varlen import varlen_attn

        starts = torch.tensor([0, 100, 256], dtype=torch.int32, device=q.device)
        return varlen_attn(q, k, v, starts, starts, 156, 156)

    return [((256, 4, d), BF16, True)] * 3, Call(forward)


def multi_head(need_weights=False):
    def forward(x, w, out):
        options = {"need_weights": need_weights, "training": True}
        return F.multi_head_attention_forward(x, x, x, 256, 4, w, None, None, None, False, 0.0, out, None, **options)[0]

    return [((100, 2, 256), BF16, True), ((768, 256), BF16, True), ((256, 256), BF16, True)], Call(forward)


Q = (2, 8, 100, 64)


def windows(x):
    """(b, 8, 8, heads, head size) as windows of 4 by 4."""
    return x.view(2, 2, 4, 2, 4, 4, 32).permute(0, 1, 3, 5, 2, 4, 6).reshape(8, 4, 16, 32)


BSHD = lambda *xs: [x.transpose(1, 2) for x in xs]  # noqa: E731

CALLS = {
    # lengths
    "odd lengths": plain((3, 5, 77, 64)),
    "odd lengths, causal": plain((3, 5, 77, 64), is_causal=True),
    "odd lengths, fp32": plain((3, 5, 77, 64), dtype=FP32),
    "a prime batch of one": plain((1, 1, 13, 8)),
    "length 1": plain((2, 4, 1, 64)),
    "long": plain((1, 2, 4096, 64), is_causal=True),
    "cross attention": plain((2, 8, 33, 64), (2, 8, 190, 64)),
    "cross attention, causal": plain((2, 8, 33, 64), (2, 8, 190, 64), is_causal=True),
    "cross attention, one key": plain((2, 8, 33, 64), (2, 8, 1, 64)),
    "cross attention, fp32": plain((2, 8, 33, 64), (2, 8, 190, 64), dtype=FP32),
    # head sizes
    **{f"head {d}": plain((2, 3, 65, d)) for d in (8, 16, 40, 80, 104, 112, 120, 136, 176, 200, 224, 248, 264, 320)},
    **{f"head {d}": plain((2, 3, 65, d)) for d in (1, 2, 4, 12, 20, 36, 60, 100, 129, 250, 255)},
    **{f"head {d}, fp32": plain((2, 3, 65, d), dtype=FP32) for d in (1, 2, 4, 8, 12, 33, 34, 36, 100, 512)},
    **{f"head {d}, causal, fp16": plain((2, 3, 65, d), dtype=FP16, is_causal=True) for d in (8, 36, 100, 256, 512)},
    "values of another head size": plain((2, 4, 64, 192), (2, 4, 64, 192), (2, 4, 64, 128)),
    "values of another head size, small": plain((2, 4, 64, 64), (2, 4, 64, 64), (2, 4, 64, 32)),
    "values of another head size, fp32": plain((2, 4, 64, 64), (2, 4, 64, 64), (2, 4, 64, 32), dtype=FP32),
    # heads
    "multi-query": plain((2, 8, 64, 64), (2, 1, 64, 64), enable_gqa=True),
    "multi-query without the flag": plain((2, 8, 64, 64), (2, 1, 64, 64)),
    "grouped, mask": plain((2, 8, 64, 64), (2, 2, 64, 64), mask=(64, 64), enable_gqa=True),
    "grouped, fp32": plain((2, 8, 64, 64), (2, 2, 64, 64), dtype=FP32, enable_gqa=True),
    "grouped, head 80": plain((2, 8, 63, 80), (2, 4, 63, 80), enable_gqa=True, is_causal=True),
    "one batch of keys": plain((4, 8, 64, 64), (1, 8, 64, 64)),
    "keys expanded by hand": from_leaves(
        ((2, 8, 64, 64), BF16),
        ((2, 2, 64, 64), BF16),
        forward=lambda q, k: sdpa(q, *[k[:, :, None].expand(2, 2, 4, 64, 64).reshape(2, 8, 64, 64)] * 2),
    ),
    "keys expanded as a view": from_leaves(
        ((2, 8, 64, 64), BF16), ((2, 1, 64, 64), BF16), forward=lambda q, k: sdpa(q, *[k.expand(2, 8, 64, 64)] * 2)
    ),
    # layouts
    **{f"packed {order}": packed(2, 65, 4, 64, order, is_causal=True) for order in ("thd", "htd")},
    **{f"packed {order}, fp32": packed(2, 65, 4, 64, order, dtype=FP32) for order in ("thd", "htd")},
    "packed, head 36": packed(2, 65, 4, 36, "thd"),
    "packed, head 36, fp32": packed(2, 65, 4, 36, "thd", dtype=FP32),
    "as (b, s, heads, d)": from_leaves(*[((2, 65, 4, 64), BF16)] * 3, forward=lambda *t: sdpa(*BSHD(*t))),
    "as (b, s, heads, d), reshaped after": from_leaves(
        *[((2, 65, 4, 64), BF16)] * 3,
        forward=lambda *t: F.gelu(sdpa(*BSHD(*t)).transpose(1, 2).reshape(2, 65, 256)),
    ),
    "contiguous, reshaped after": from_leaves(
        *[((2, 4, 65, 64), BF16)] * 3, forward=lambda *t: F.gelu(sdpa(*t).transpose(1, 2).reshape(2, 65, 256))
    ),
    "fp32, reshaped after": from_leaves(
        *[((2, 4, 65, 64), FP32)] * 3, forward=lambda *t: F.gelu(sdpa(*t).transpose(1, 2).reshape(2, 65, 256))
    ),
    "math, reshaped after": from_leaves(
        *[((2, 4, 65, 64), BF16)] * 3,
        forward=lambda *t: F.gelu(sdpa(*t).transpose(1, 2).reshape(2, 65, 256)),
        around=only(SDPBackend.MATH),
    ),
    "flash, reshaped after": from_leaves(
        *[((2, 4, 65, 64), BF16)] * 3,
        forward=lambda *t: F.gelu(sdpa(*t).transpose(1, 2).reshape(2, 65, 256)),
        around=only(SDPBackend.FLASH_ATTENTION),
    ),
    "head size not last in memory": from_leaves(
        *[((2, 4, 64, 65), BF16)] * 3, forward=lambda *t: sdpa(*[x.transpose(2, 3) for x in t])
    ),
    "head size not last in memory, fp32": from_leaves(
        *[((2, 4, 64, 65), FP32)] * 3, forward=lambda *t: sdpa(*[x.transpose(2, 3) for x in t])
    ),
    "every second position": from_leaves(
        *[((2, 4, 130, 64), BF16)] * 3, forward=lambda *t: sdpa(*[x[:, :, ::2] for x in t])
    ),
    "heads sliced off": from_leaves(*[((2, 4, 65, 72), BF16)] * 3, forward=lambda *t: sdpa(*[x[..., 8:] for x in t])),
    "heads sliced off, fp32": from_leaves(
        *[((2, 4, 65, 68), FP32)] * 3, forward=lambda *t: sdpa(*[x[..., 4:] for x in t])
    ),
    "windows": from_leaves(
        *[((2, 8, 8, 4, 32), BF16)] * 3,
        forward=lambda *t: sdpa(*[windows(x) for x in t]),
    ),
    "three dimensions": plain((8, 65, 64), dtype=BF16),
    "three dimensions, fp32": plain((8, 65, 64), dtype=FP32),
    "five dimensions": plain((2, 3, 4, 65, 64), dtype=BF16),
    # masks of every broadcast shape, added and boolean
    **{
        f"mask {shape}, {name}{' ' + str(dtype)[6:] if dtype is not BF16 else ''}": plain(
            Q, mask=shape, mask_dtype=kind or dtype, dtype=dtype
        )
        for shape in (
            (100, 100), (1, 100), (100, 1), (1, 1, 100, 100), (2, 1, 100, 100), (1, 8, 100, 100), (2, 8, 100, 100),
            (2, 1, 1, 100), (2, 8, 1, 100), (2, 1, 100, 1), (8, 100, 100), (1, 1, 1, 1), (100,),
        )
        for name, kind in (("added", None), ("boolean", BOOL))
        for dtype in (BF16, FP32)
    },
    "mask, grad": plain(Q, mask=(1, 8, 100, 100), mask_grad=True),
    "mask, grad, length 104": plain((2, 8, 104, 64), mask=(1, 8, 104, 104), mask_grad=True),
    "mask, dropout": plain(Q, mask=(100, 100), dropout_p=0.25),
    "mask, head 36": plain((2, 8, 100, 36), mask=(100, 100)),
    "mask, head 512": plain((2, 8, 96, 512), mask=(96, 96)),
    "mask transposed": (
        [(Q, BF16, True)] * 3 + [((1, 1, 100, 100), BF16, False)],
        Call(lambda q, k, v, m: sdpa(q, k, v, m.transpose(2, 3))),
    ),
    "mask expanded": (
        [(Q, BF16, True)] * 3 + [((1, 1, 100), BF16, False)],
        Call(lambda q, k, v, m: sdpa(q, k, v, m[:, None].expand(2, 8, 100, 100))),
    ),
    "mask expanded, boolean, fp32": (
        [(Q, FP32, True)] * 3 + [((2, 100), BOOL, False)],
        Call(lambda q, k, v, m: sdpa(q, k, v, m[:, None, None, :].expand(2, 1, 100, 100))),
    ),
    "mask sliced": (
        [(Q, FP32, True)] * 3 + [((1, 1, 128, 128), FP32, False)],
        Call(lambda q, k, v, m: sdpa(q, k, v, m[:, :, :100, :100])),
    ),
    "mask of another dtype": plain(Q, mask=(100, 100), mask_dtype=FP32),
    # dropout
    **{f"dropout {p}": plain(Q, dropout_p=p) for p in (0.0625, 0.1, 0.125, 0.5)},
    "dropout 0.1, fp32": plain(Q, dropout_p=0.1, dtype=FP32),
    "dropout 0.1, one query": plain((2, 8, 1, 64), (2, 8, 100, 64), dropout_p=0.1),
    "dropout 0.125, one query": plain((2, 8, 1, 64), (2, 8, 100, 64), dropout_p=0.125),
    # who needs a gradient
    "only the values need a gradient": (
        [(Q, BF16, False), (Q, BF16, False), (Q, BF16, True)],
        Call(lambda q, k, v: sdpa(q, k, v)),
    ),
    "nothing needs a gradient": ([(Q, BF16, False)] * 3, Call(lambda q, k, v: sdpa(q, k, v))),
    "only the mask needs a gradient": ([(Q, BF16, False)] * 3 + [((*Q[:3], 100), BF16, True)], Call(sdpa)),
    # switches
    "deterministic": plain(Q, around=deterministic),
    "math": plain(Q, around=only(SDPBackend.MATH)),
    "math, causal, grouped": plain(Q, (2, 2, 100, 64), around=only(SDPBackend.MATH), is_causal=True, enable_gqa=True),
    "math, dropout": plain(Q, around=only(SDPBackend.MATH), dropout_p=0.1),
    "math, mask": plain(Q, mask=(2, 1, 100, 100), mask_dtype=BOOL, around=only(SDPBackend.MATH)),
    "math in reduced precision": plain(Q, around=reduced_math),
    "math in reduced precision, mask": plain(Q, mask=(2, 1, 100, 100), mask_dtype=BOOL, around=reduced_math),
    "flash": plain(Q, around=only(SDPBackend.FLASH_ATTENTION)),
    "flash, dropout": plain(Q, around=only(SDPBackend.FLASH_ATTENTION), dropout_p=0.1),
    "efficient": plain(Q, around=only(SDPBackend.EFFICIENT_ATTENTION)),
    "efficient, dropout": plain(Q, around=only(SDPBackend.EFFICIENT_ATTENTION), dropout_p=0.1),
    "efficient, two in order": plain(
        Q, around=lambda: sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION], set_priority=True)
    ),
    "a scale": plain(Q, scale=1 / math.sqrt(7)),
    # other functions
    **{
        f"flex, {name}{', compiled' if compiled else ''}": flex(compiled=compiled, **options)
        for name, options in {
            "plain": {},
            "odd length": {"s": 200},
            "causal": {"s": 200, "causal": True},
            "grouped": {"k": 2},
            "head 36": {"d": 36},
            "float32": {"dtype": FP32},
            "as (b, s, heads, d)": {"transposed": True},
        }.items()
        for compiled in (False, True)
    },
    "flex, softcap, compiled": flex(compiled=True, score_mod=lambda s, *_: 20 * torch.tanh(s / 20)),
    "varlen": varlen(64),
    "varlen, head 40": varlen(40),
    "multi-head attention": multi_head(),
    "multi-head attention with weights": multi_head(need_weights=True),
}  # fmt: skip


def leaves(specs, device):
    """The leaf tensors of a call: zeros, or a mask that lets everything through."""
    return [
        torch.ones(shape, dtype=dtype, device=device)
        if dtype is BOOL
        else torch.zeros(shape, dtype=dtype, device=device, requires_grad=grad)
        for shape, dtype, grad in specs
    ]
