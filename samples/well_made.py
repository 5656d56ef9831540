"""A language model as it should be: no rule of `graphmem lint` speaks. Llama's shape; compare samples/llama.py.

Fused norms, scaled_dot_product_attention with is_causal and enable_gqa, no mask, and a loss that is made of the hidden
states in pieces, each of which makes its logits again in backward.

graphmem lint samples/well_made.py
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

PIECES = 4  # of the tokens, for the loss


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, h: int, a: int, k: int) -> None:
        super().__init__()
        self.a, self.k, self.head = a, k, h // a
        self.q_proj = nn.Linear(h, h, bias=False)
        self.k_proj = nn.Linear(h, k * self.head, bias=False)
        self.v_proj = nn.Linear(h, k * self.head, bias=False)
        self.o_proj = nn.Linear(h, h, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        b, s, h = x.shape
        q = rotate(self.q_proj(x).view(b, s, self.a, self.head).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(b, s, self.k, self.head).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, s, self.k, self.head).transpose(1, 2)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(o.transpose(1, 2).reshape(b, s, h))


class MLP(nn.Module):
    def __init__(self, h: int, f: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(h, f, bias=False), nn.Linear(h, f, bias=False)
        self.down = nn.Linear(f, h, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    def __init__(self, h: int, a: int, k: int, f: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.RMSNorm(h), Attention(h, a, k)
        self.norm2, self.mlp = nn.RMSNorm(h), MLP(h, f)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class WellMade(nn.Module):
    def __init__(self, h: int, a: int, k: int, f: int, L: int, v: int) -> None:
        super().__init__()
        self.head = h // a
        self.tokens = nn.Embedding(v, h)
        self.layers = nn.ModuleList(Layer(h, a, k, f) for _ in range(L))
        self.norm, self.lm_head = nn.RMSNorm(h), nn.Linear(h, v, bias=False)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.tokens(ids)
        position = torch.arange(ids.shape[1], device=ids.device)
        frequency = 500000 ** (-torch.arange(0, self.head, 2, device=ids.device) / self.head)
        angle = torch.outer(position, frequency).repeat(1, 2)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin)
        hidden, labels = self.norm(x).flatten(0, 1), labels.flatten()
        pieces = zip(hidden.chunk(PIECES), labels.chunk(PIECES), strict=True)
        total = sum(checkpoint(self.loss, h, wanted, use_reentrant=False) for h, wanted in pieces)
        return {"loss": total / labels.numel()}

    def loss(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.lm_head(hidden).float(), labels, reduction="sum")


def model(h: int = 4096, a: int = 32, k: int = 8, f: int = 14336, L: int = 32, v: int = 128256) -> nn.Module:
    return WellMade(h, a, k, f, L, v).bfloat16()


def inputs(b: int = 1, s: int = 8192, v: int = 128256) -> dict[str, torch.Tensor]:
    ids = torch.randint(v, (b, s))
    return {"ids": ids, "labels": ids.clone()}
