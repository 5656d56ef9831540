"""The layer that the textbook formula is about: 16-bit, dropout everywhere, GELU, an MLP of 4h.

Korthikanti et al. (arXiv 2205.05198) count 34sbh + 5as²b bytes for it, 11sbh + 5as²b of them in the attention block.
The small terms that they leave out are the mean and the inverse deviation of the two norms.

    graphmem analyze samples/megatron_layer.py
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, h: int, a: int, p: float) -> None:
        super().__init__()
        self.a = a
        self.p = p
        self.q, self.k, self.v = (nn.Linear(h, h) for _ in range(3))
        self.out = nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, h = x.shape
        q, k, v = (f(x).view(b, s, self.a, h // self.a).transpose(1, 2) for f in (self.q, self.k, self.v))
        mask = torch.ones(s, s, dtype=torch.bool, device=x.device).tril()
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(h // self.a)
        probabilities = scores.masked_fill_(~mask, -math.inf).softmax(-1)
        probabilities = F.dropout(probabilities, self.p, self.training)
        context = (probabilities @ v).transpose(1, 2).reshape(b, s, h)
        return F.dropout(self.out(context), self.p, self.training)


class MLP(nn.Module):
    def __init__(self, h: int, p: float) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(h, 4 * h), nn.Linear(4 * h, h)
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(self.down(F.gelu(self.up(x))), self.p, self.training)


class Layer(nn.Module):
    def __init__(self, h: int, a: int, p: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(h), nn.LayerNorm(h)
        self.attention, self.mlp = Attention(h, a, p), MLP(h, p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def model(h: int = 1024, a: int = 16, v: int = 1000, p: float = 0.1) -> nn.Module:
    # The embedding makes the layer's input a tensor of the model, which the formula counts, not one of the caller's.
    return nn.Sequential(nn.Embedding(v, h), Layer(h, a, p)).bfloat16()


def inputs(b: int = 4, s: int = 512, v: int = 1000) -> tuple[torch.Tensor, ...]:
    return (torch.randint(v, (b, s)),)
