"""Diffusion Transformers: patches of a latent and no class token, each layer modulated by a vector."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


def modulated(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


def at_sides(side: int, h: int) -> torch.Tensor:
    """Sines and cosines of rows and columns, as a table of side² rows."""
    steps = 1 / 10000 ** (torch.arange(h // 4) / (h // 4))
    angles = torch.arange(side)[:, None] * steps
    one = torch.cat([angles.sin(), angles.cos()], 1)
    return torch.cat([one[:, None].expand(-1, side, -1), one[None].expand(side, -1, -1)], 2).flatten(0, 1)


class Times(nn.Module):
    def __init__(self, h: int, width: int = 256) -> None:
        super().__init__()
        self.width, self.feed = width, nn.Sequential(nn.Linear(width, h), nn.SiLU(), nn.Linear(h, h))

    def forward(self, t):
        half = self.width // 2
        steps = torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)
        angles = t[:, None].float() * steps[None]
        return self.feed(torch.cat([angles.cos(), angles.sin()], -1).to(self.feed[0].weight.dtype))


class Attention(nn.Module):
    """normed: q and k are normalised per head."""

    def __init__(self, h: int, a: int, normed: bool = False) -> None:
        super().__init__()
        self.a, self.qkv, self.out = a, nn.Linear(h, 3 * h), nn.Linear(h, h)
        self.q_norm, self.k_norm = (nn.RMSNorm(h // a) if normed else nn.Identity() for _ in range(2))

    def forward(self, x):
        b, s, h = x.shape
        q, k, v = self.qkv(x).reshape(b, s, 3, self.a, h // self.a).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.out(y.transpose(1, 2).reshape(b, s, h))


class Block(nn.Module):
    def __init__(self, h: int, a: int, f: int, normed: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(h, elementwise_affine=False, eps=1e-6)
        self.norm2 = nn.LayerNorm(h, elementwise_affine=False, eps=1e-6)
        self.attention = Attention(h, a, normed)
        self.feed = nn.Sequential(nn.Linear(h, f), nn.GELU(approximate="tanh"), nn.Linear(f, h))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(h, 6 * h))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).chunk(6, 1)
        x = x + gate1[:, None] * self.attention(modulated(self.norm1(x), shift1, scale1))
        return x + gate2[:, None] * self.feed(modulated(self.norm2(x), shift2, scale2))


class Last(nn.Module):
    def __init__(self, h: int, out: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(h, elementwise_affine=False, eps=1e-6), nn.Linear(h, out)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(h, 2 * h))

    def forward(self, x, c):
        shift, scale = self.modulation(c).chunk(2, 1)
        return self.linear(modulated(self.norm(x), shift, scale))


class DiT(nn.Module):
    """conv: patches by a convolution, or by a reshape and a Linear. table: positions of a fixed side, or of any."""

    def __init__(self, n, p, channels, h, a, f, L, classes=None, conv=True, table=True, normed=False) -> None:
        super().__init__()
        self.p, self.h = p, h
        self.patches = nn.Conv2d(channels, h, p, p) if conv else nn.Linear(p * p * channels, h)
        self.times, self.classes = Times(h), nn.Embedding(classes + 1, h) if classes else None
        if table:
            self.register_buffer("table", at_sides(n // p, h))
        self.blocks = nn.ModuleList(Block(h, a, f, normed) for _ in range(L))
        self.last = Last(h, p * p * channels)

    def patchified(self, x):
        if isinstance(self.patches, nn.Conv2d):
            return self.patches(x).flatten(2).transpose(1, 2)
        b, c, n, m = x.shape
        x = x.view(b, c, n // self.p, self.p, m // self.p, self.p)
        return self.patches(x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2))

    def unpatchified(self, x, side):
        x = x.reshape(x.shape[0], side, side, self.p, self.p, -1)
        x = torch.einsum("nhwpqc->nchpwq", x)
        return x.reshape(x.shape[0], -1, side * self.p, side * self.p)

    def forward(self, x, t, y=None, noise=None):
        side = x.shape[-1] // self.p
        x = self.patchified(x)
        x = x + (self.table if hasattr(self, "table") else at_sides(side, self.h).to(x))
        c = self.times(t) if y is None else self.times(t) + self.classes(y)
        for block in self.blocks:
            x = block(x, c)
        x = self.unpatchified(self.last(x, c), side)
        return x if noise is None else {"loss": F.mse_loss(x, noise)}


class Conditioned(nn.Module):
    """The body alone: the vector is an input, and the patches of an image are made here."""

    def __init__(self, p: int, h: int, a: int, f: int, L: int) -> None:
        super().__init__()
        self.p = p
        self.patches, self.blocks = nn.Conv2d(3, h, p, p), nn.ModuleList(Block(h, a, f, True) for _ in range(L))
        self.last, self.shuffle = Last(h, 3 * p * p), nn.PixelShuffle(p)

    def forward(self, x, c):
        x = self.patches(x)
        side = x.shape[-1]
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, c)
        return self.shuffle(self.last(x, c).transpose(1, 2).unflatten(2, (side, side)))


def classed(n: int = 32, p: int = 2, h: int = 768, a: int = 12, L: int = 12, classes: int = 1000) -> nn.Module:
    return DiT(n, p, 4, h, a, 4 * h, L, classes)


def half(n: int = 32, p: int = 2, h: int = 1152, a: int = 16, f: int = 4608, L: int = 28) -> nn.Module:
    return DiT(n, p, 4, h, a, f, L, conv=False, normed=True).bfloat16()


def any_side(p: int = 4, h: int = 768, a: int = 12, L: int = 12) -> nn.Module:
    return DiT(None, p, 4, h, a, 4 * h, L, table=False).bfloat16()


def conditioned(p: int = 16, h: int = 768, a: int = 12, L: int = 12) -> nn.Module:
    return Conditioned(p, h, a, 4 * h, L)


def trained(b: int = 8, n: int = 32, classes: int = 1000) -> dict[str, torch.Tensor]:
    x, y = torch.randn(b, 4, n, n), torch.randint(classes, (b,))
    return {"x": x, "t": torch.randint(1000, (b,)), "y": y, "noise": torch.randn_like(x)}


def latent(b: int = 8, n: int = 32) -> tuple[torch.Tensor, ...]:
    return torch.randn(b, 4, n, n, dtype=torch.bfloat16), torch.rand(b)


def large(b: int = 2, n: int = 64) -> dict[str, torch.Tensor]:
    x = torch.randn(b, 4, n, n, dtype=torch.bfloat16)
    return {"x": x, "t": torch.rand(b), "noise": torch.randn_like(x)}


def image(b: int = 4, n: int = 256, h: int = 768) -> tuple[torch.Tensor, ...]:
    return torch.randn(b, 3, n, n), torch.randn(b, h)


MODELS = {
    "classes, loss": (classed, trained),
    "bf16": (half, latent),
    "any side, bf16, loss": (any_side, large),
    "image": (conditioned, image),
}
