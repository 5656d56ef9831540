"""A GPT-2-like language model: learned positions, hand-written or SDPA attention, GELU, tied embeddings.

graphmem analyze samples/gpt2.py                      standard attention: terms in s²
graphmem analyze samples/gpt2.py --set attn=sdpa      the kernel that the target GPU runs
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, h: int, a: int, p: float, attn: str) -> None:
        super().__init__()
        self.a, self.p, self.attn = a, p, attn
        self.qkv, self.out = nn.Linear(h, 3 * h), nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, h = x.shape
        q, k, v = (t.view(b, s, self.a, h // self.a).transpose(1, 2) for t in self.qkv(x).split(h, dim=2))
        if self.attn == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0.0, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(h // self.a)
            causal = torch.ones(s, s, dtype=torch.bool, device=x.device).tril()
            weights = scores.masked_fill(~causal, float("-inf")).softmax(-1)
            y = F.dropout(weights, self.p, self.training) @ v
        return F.dropout(self.out(y.transpose(1, 2).reshape(b, s, h)), self.p, self.training)


class Block(nn.Module):
    def __init__(self, h: int, a: int, p: float, attn: str) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(h), Attention(h, a, p, attn)
        self.norm2, self.up, self.down = nn.LayerNorm(h), nn.Linear(h, 4 * h), nn.Linear(4 * h, h)
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        y = self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x + F.dropout(y, self.p, self.training)


class GPT(nn.Module):
    def __init__(self, h: int, a: int, L: int, v: int, p: float, attn: str) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(v, h), nn.Embedding(2**16, h)
        self.blocks = nn.ModuleList(Block(h, a, p, attn) for _ in range(L))
        self.norm, self.head = nn.LayerNorm(h), nn.Linear(h, v, bias=False)
        self.head.weight = self.tokens.weight
        self.p = p

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        x = F.dropout(x, self.p, self.training)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def model(h: int = 768, a: int = 12, L: int = 12, v: int = 50257, p: float = 0.1, attn: str = "eager") -> nn.Module:
    return GPT(h, a, L, v, p, attn).bfloat16()


def inputs(b: int = 8, s: int = 1024, v: int = 50257) -> dict[str, torch.Tensor]:
    ids = torch.randint(v, (b, s))
    return {"ids": ids, "labels": ids.clone()}
