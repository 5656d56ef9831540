"""The attention block of flash-attention issue 899: qkv projection, flash attention, output projection.

The issue ends with 12sbh + 4sbh_a bytes. Measured, that is what is *alive* after forward, the block's input (2sbh) and
output (2sbh) included, and h_a is the number of heads: 12sbh + 4abs. *Saved for backward* is 8sbh + 4abs, or
10sbh + 4abs with the input, which is saved too but belongs to the caller: here an embedding makes it, so it counts.

    graphmem analyze samples/flash_block.py
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class Block(nn.Module):
    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.a = a
        self.qkv = nn.Linear(h, 3 * h, bias=False)
        self.dense = nn.Linear(h, h, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, h = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.a, h // self.a).permute(2, 0, 3, 1, 4)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.dense(o.transpose(1, 2).reshape(b, s, h))


def model(h: int = 8192, a: int = 32, v: int = 1000) -> nn.Module:
    return nn.Sequential(nn.Embedding(v, h), Block(h, a)).bfloat16()


def inputs(b: int = 1, s: int = 4096, v: int = 1000) -> tuple[torch.Tensor, ...]:
    return (torch.randint(v, (b, s)),)
