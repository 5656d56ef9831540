"""Language models whose vocabulary is padded, and whose feed-forwards are rounded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def up_to(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class Block(nn.Module):
    def __init__(self, h: int, a: int, f: int) -> None:
        super().__init__()
        self.a, self.norm1, self.norm2 = a, nn.RMSNorm(h), nn.RMSNorm(h)
        self.qkv, self.out = nn.Linear(h, 3 * h, bias=False), nn.Linear(h, h, bias=False)
        self.gate, self.up, self.down = (nn.Linear(i, o, bias=False) for i, o in ((h, f), (h, f), (f, h)))

    def forward(self, x):
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Language(nn.Module):
    """v: with padding. cut: without; only so many logits are looked at."""

    def __init__(self, v: int, h: int, a: int, f: int, L: int, *, tied: bool = False, cut: int | None = None) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(v, h), nn.Linear(h, v, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        self.blocks, self.norm, self.cut = nn.ModuleList(Block(h, a, f) for _ in range(L)), nn.RMSNorm(h), cut

    def forward(self, ids, labels=None):
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))[..., : self.cut]
        if labels is None:
            return logits
        return {"loss": F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten()), "logits": logits}


def by_64(v: int = 50257, h: int = 768, a: int = 12, L: int = 6) -> nn.Module:
    return Language(up_to(v, 64), h, a, 4 * h, L, tied=True).bfloat16()


def by_128(v: int = 32000, h: int = 512, a: int = 8, f: int = 1376, L: int = 4) -> nn.Module:
    """Nothing to pad at the working point."""
    return Language(up_to(v, 128), h, a, f, L)


def by_512_cut(v: int = 50257, h: int = 768, a: int = 12, f: int = 2048, L: int = 4) -> nn.Module:
    return Language(up_to(v, 512), h, a, f, L, cut=v).bfloat16()


def llama(v: int = 32000, h: int = 4096, a: int = 32, L: int = 4) -> nn.Module:
    """Llama's 11,008."""
    return Language(v, h, a, up_to(int(2 * (4 * h) / 3), 256), L).bfloat16()


def both(v: int = 32003, h: int = 768, a: int = 12, L: int = 4) -> nn.Module:
    return Language(up_to(v, 512), h, a, up_to(8 * h // 3, 256), L)


def small_feed(v: int = 1000, h: int = 1024, a: int = 16, L: int = 4) -> nn.Module:
    return Language(up_to(v, 64), h, a, up_to(8 * h // 3, 64), L).bfloat16()


def any_multiple(v: int = 50257, h: int = 768, a: int = 12, L: int = 4, multiple: int = 128) -> nn.Module:
    return Language(up_to(v, multiple), h, a, 4 * h, L).bfloat16()


def gpt2(b: int = 4, s: int = 1024, v: int = 50257) -> dict[str, torch.Tensor]:
    ids = torch.randint(v, (b, s))
    return {"ids": ids, "labels": ids}


def sentence_piece(b: int = 2, s: int = 2048, v: int = 32000) -> dict[str, torch.Tensor]:
    return gpt2(b, s, v)


def extended(b: int = 2, s: int = 512, v: int = 32003) -> dict[str, torch.Tensor]:
    return gpt2(b, s, v)


def ids(b: int = 2, s: int = 1024, v: int = 50257) -> tuple[torch.Tensor, ...]:
    return (torch.randint(v, (b, s)),)


def few_ids(b: int = 2, s: int = 1000, v: int = 1000) -> tuple[torch.Tensor, ...]:
    return (torch.randint(v, (b, s)),)


MODELS = {
    "64": (by_64, gpt2),
    "64, no loss": (by_64, ids),
    "128": (by_128, sentence_piece),
    "512, cut": (by_512_cut, gpt2),
    "llama": (llama, sentence_piece),
    "both": (both, extended),
    "small feed": (small_feed, few_ids),
    "any multiple": (any_multiple, gpt2),
}
