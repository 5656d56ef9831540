"""One attention block for each way to call attention, in bf16: what does each keep?

graphmem analyze samples/kernels.py:math
graphmem analyze samples/kernels.py:flash_attn --gpu a100
"""

import math as m
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class Block(nn.Module):
    """Projections around `attend(q, k, v)`, which takes and gives (b, heads, s, h/a)."""

    def __init__(self, attend: Callable[..., Tensor], h: int, a: int, k: int) -> None:
        super().__init__()
        self.attend, self.heads = attend, (a, k, k)
        self.project = nn.ModuleList(nn.Linear(h, h // a * heads, bias=False) for heads in self.heads)
        self.out = nn.Linear(h, h, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            f(x).unflatten(-1, (heads, -1)).transpose(1, 2) for f, heads in zip(self.project, self.heads, strict=True)
        )
        return self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))


def block(attend: Callable[..., Tensor], h: int, a: int, v: int, k: int | None = None) -> nn.Module:
    # The embedding makes the block's input a tensor of the model, which counts, not one of the caller's.
    return nn.Sequential(nn.Embedding(v, h), Block(attend, h, a, k or a)).bfloat16()


def inputs(b: int = 2, s: int = 2048, v: int = 1000) -> tuple[Tensor, ...]:
    return (torch.randint(v, (b, s)),)


def by(*backends: SDPBackend, **options: float) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(list(backends)):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, **options)

    return attend


# -- scaled_dot_product_attention --------------------------------------------------------------------------------------


def sdpa(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), h, a, v)


def sdpa_flash(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(by(SDPBackend.FLASH_ATTENTION), h, a, v)


def sdpa_efficient(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(by(SDPBackend.EFFICIENT_ATTENTION), h, a, v)


def math(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(by(SDPBackend.MATH), h, a, v)


def math_dropout(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(by(SDPBackend.MATH, dropout_p=0.1), h, a, v)


def math_reduced(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
        try:
            return by(SDPBackend.MATH)(q, k, v)
        finally:
            torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)

    return block(attend, h, a, v)


def sdpa_grouped(h: int = 1024, a: int = 16, k: int = 4, v: int = 1000) -> nn.Module:
    return block(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True), h, a, v, k)


def sdpa_bool_mask(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, causal(q).expand(q.shape[0], 1, -1, -1))

    return block(attend, h, a, v)


# -- written out -------------------------------------------------------------------------------------------------------


def causal(q: Tensor) -> Tensor:
    return torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=q.device).tril()


def written_out(q: Tensor, k: Tensor, v: Tensor, p: float = 0.0, dtype: torch.dtype | None = None) -> Tensor:
    scores = q @ k.transpose(-2, -1) / m.sqrt(q.shape[-1])
    scores = scores + torch.zeros_like(causal(q), dtype=q.dtype).masked_fill_(~causal(q), -m.inf)
    probabilities = scores.softmax(-1, dtype=dtype).to(q.dtype)
    return (F.dropout(probabilities, p) if p else probabilities) @ v


def eager(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(written_out, h, a, v)


def eager_dropout(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(lambda q, k, v: written_out(q, k, v, p=0.1), h, a, v)


def eager_fp32(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    return block(lambda q, k, v: written_out(q, k, v, dtype=torch.float32), h, a, v)


# -- other packages ----------------------------------------------------------------------------------------------------


def flash_attn(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    from flash_attn import flash_attn_func

    return block(
        lambda q, k, v: flash_attn_func(*(t.transpose(1, 2) for t in (q, k, v)), causal=True).transpose(1, 2), h, a, v
    )


def flash_attn_varlen(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    from flash_attn import flash_attn_varlen_func

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        b, s = q.shape[0], q.shape[2]
        starts = torch.arange(0, (b + 1) * s, s, dtype=torch.int32, device=q.device)
        flat = [t.transpose(1, 2).flatten(0, 1) for t in (q, k, v)]
        return flash_attn_varlen_func(*flat, starts, starts, s, s, causal=True).unflatten(0, (b, s)).transpose(1, 2)

    return block(attend, h, a, v)


def flash_attn_3(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    from flash_attn_interface import flash_attn_func

    return block(
        lambda q, k, v: flash_attn_func(*(t.transpose(1, 2) for t in (q, k, v)), causal=True).transpose(1, 2), h, a, v
    )


def xformers(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    from xformers.ops import LowerTriangularMask, memory_efficient_attention

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        bias = LowerTriangularMask()
        return memory_efficient_attention(*(t.transpose(1, 2) for t in (q, k, v)), attn_bias=bias).transpose(1, 2)

    return block(attend, h, a, v)


def flex(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled = torch.compile(flex_attention)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, q.shape[2], k.shape[2], device=q.device)
        return compiled(q, k, v, block_mask=mask)

    return block(attend, h, a, v)


def flex_eager(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    from torch.nn.attention.flex_attention import flex_attention

    return block(flex_attention, h, a, v)


def varlen(h: int = 1024, a: int = 16, v: int = 1000) -> nn.Module:
    from torch.nn.attention.varlen import varlen_attn

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        b, s = q.shape[0], q.shape[2]
        starts = torch.arange(0, (b + 1) * s, s, dtype=torch.int32, device=q.device)
        flat = [t.transpose(1, 2).flatten(0, 1) for t in (q, k, v)]
        return varlen_attn(*flat, starts, starts, s, s).unflatten(0, (b, s)).transpose(1, 2)

    return block(attend, h, a, v)
