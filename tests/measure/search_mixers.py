"""Attention, and whatever else mixes positions: parts for made models, as `search_pieces` has them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


def heads_of(x, a):
    return x.unflatten(2, (a, -1)).transpose(1, 2)


def causal(s, device):
    return torch.ones(s, s, dtype=torch.bool, device=device).tril()


def written_out(q, k, v, mask=None, p=0.0):
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return F.dropout(scores.softmax(-1), p) @ v


# --- what mixes positions -----------------------------------------------------------------------------------------


class Sdpa(nn.Module):
    """kind: "", "causal", "bool", "float", "padding" (a mask of one row per sequence)."""

    def __init__(self, h, a, k=None, d=None, kind="", repeat=False, p=0.0) -> None:
        super().__init__()
        self.a, self.k, self.kind, self.repeat, self.p = a, k or a, kind, repeat, p
        assert d or h % a == 0, "heads have to divide h"
        d = d or h // a
        self.q, self.kv, self.out = nn.Linear(h, a * d), nn.Linear(h, 2 * self.k * d), nn.Linear(a * d, h)

    def forward(self, x):
        q = heads_of(self.q(x), self.a)
        k, v = (heads_of(t, self.k) for t in self.kv(x).chunk(2, 2))
        if self.repeat:
            k, v = (t.repeat_interleave(self.a // self.k, 1) for t in (k, v))
        mask = None if self.kind in ("", "causal") else self.mask(x)
        y = F.scaled_dot_product_attention(
            q, k, v, mask, self.p, is_causal=self.kind == "causal", enable_gqa=self.k != self.a and not self.repeat
        )
        return self.out(y.transpose(1, 2).flatten(2))

    def mask(self, x):
        b, s, _ = x.shape
        if self.kind == "padding":
            return torch.ones(b, 1, 1, s, dtype=torch.bool, device=x.device)
        seen = causal(s, x.device)
        return seen if self.kind == "bool" else torch.zeros(s, s, dtype=x.dtype, device=x.device).masked_fill(~seen, -1)


class Eager(nn.Module):
    """mask: the length of a mask that is cut to s. Heads need not divide h: what is left over is not used."""

    def __init__(self, h, a, k=None, p=0.0, fp32=False, mask=None) -> None:
        super().__init__()
        self.a, self.k, self.p, self.fp32 = a, k or a, p, fp32
        d = h // a
        self.q, self.kv, self.out = nn.Linear(h, a * d), nn.Linear(h, 2 * self.k * d), nn.Linear(a * d, h)
        if mask:
            self.register_buffer("seen", torch.ones(mask, mask, dtype=torch.bool).tril())

    def forward(self, x):
        s = x.shape[1]
        q = heads_of(self.q(x), self.a)
        k, v = (heads_of(t, self.k).repeat_interleave(self.a // self.k, 1) for t in self.kv(x).chunk(2, 2))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
        if hasattr(self, "seen"):
            scores = scores.masked_fill(~self.seen[:s, :s], float("-inf"))
        weights = scores.float().softmax(-1).type_as(x) if self.fp32 else scores.softmax(-1)
        return self.out((F.dropout(weights, self.p) @ v).transpose(1, 2).flatten(2))


class Local(nn.Module):
    """Attention within windows of `w` positions; the sequence is padded to whole windows. look: keys of one before."""

    def __init__(self, h, a, w, fused=False, look=False) -> None:
        super().__init__()
        self.a, self.w, self.fused, self.look = a, w, fused, look
        self.qkv, self.out = nn.Linear(h, 3 * h), nn.Linear(h, h)

    def forward(self, x):
        b, s, h = x.shape
        padded = F.pad(self.qkv(x), (0, 0, 0, -s % self.w))
        q, k, v = padded.unflatten(1, (-1, self.w)).chunk(3, 3)
        if self.look:
            k, v = (torch.cat([F.pad(t, (0, 0, 0, 0, 1, 0))[:, :-1], t], 2) for t in (k, v))
        q, k, v = (heads_of(t.flatten(0, 1), self.a) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v) if self.fused else written_out(q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, -1, h)[:, :s])


class Sliding(nn.Module):
    """Every position sees `w` before it: written out over diagonals, as many as there are."""

    def __init__(self, h, a, w) -> None:
        super().__init__()
        self.a, self.w, self.qkv, self.out = a, w, nn.Linear(h, 3 * h), nn.Linear(h, h)

    def forward(self, x):
        s = x.shape[1]
        q, k, v = (heads_of(t, self.a) for t in self.qkv(x).chunk(3, 2))
        w = min(self.w, s)
        k, v = (F.pad(t, (0, 0, w - 1, 0)).unfold(2, w, 1) for t in (k, v))
        weights = (q.unsqueeze(-2) @ k).softmax(-1)
        return self.out((weights @ v.transpose(3, 4)).squeeze(-2).transpose(1, 2).flatten(2))


class Biased(nn.Module):
    """A learned bias per distance, of which there are `n` on either side; what is farther has that of the farthest."""

    def __init__(self, h, a, n) -> None:
        super().__init__()
        self.a, self.n, self.bias = a, n, nn.Embedding(2 * n - 1, a)
        self.qkv, self.out = nn.Linear(h, 3 * h), nn.Linear(h, h)

    def forward(self, x):
        at = torch.arange(x.shape[1], device=x.device)
        distance = (at[:, None] - at[None]).clamp(1 - self.n, self.n - 1) + self.n - 1
        q, k, v = (heads_of(t, self.a) for t in self.qkv(x).chunk(3, 2))
        y = F.scaled_dot_product_attention(q, k, v, self.bias(distance).permute(2, 0, 1)[None].to(q.dtype))
        return self.out(y.transpose(1, 2).flatten(2))


class Rotary(nn.Module):
    """Tables for `most` positions in buffers, cut to s; parts of the head, or all of it."""

    def __init__(self, h, a, most, part=1) -> None:
        super().__init__()
        self.a, self.qkv, self.out = a, nn.Linear(h, 3 * h), nn.Linear(h, h)
        angles = torch.zeros(most, h // a // part // 2 * 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def turned(self, x):
        n = self.cos.shape[1]
        cos, sin = (t[: x.shape[2]].to(x.dtype) for t in (self.cos, self.sin))
        first, rest = x[..., :n], x[..., n:]
        other = torch.cat([-first[..., n // 2 :], first[..., : n // 2]], -1)
        return torch.cat([first * cos + other * sin, rest], -1)

    def forward(self, x):
        q, k, v = (heads_of(t, self.a) for t in self.qkv(x).chunk(3, 2))
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class Linearly(nn.Module):
    def __init__(self, h, a) -> None:
        super().__init__()
        self.a, self.qkv, self.out = a, nn.Linear(h, 3 * h), nn.Linear(h, h)

    def forward(self, x):
        q, k, v = (heads_of(t, self.a) for t in self.qkv(x).chunk(3, 2))
        return self.out((q.softmax(-1) @ (k.softmax(-2).transpose(2, 3) @ v)).transpose(1, 2).flatten(2))


class Coarser(nn.Module):
    """Keys and values are pooled over `n` positions, the last of them over fewer, or dropped."""

    def __init__(self, h, a, n, ceil=False) -> None:
        super().__init__()
        self.a, self.n, self.ceil = a, n, ceil
        self.q, self.kv, self.out = nn.Linear(h, h), nn.Linear(h, 2 * h), nn.Linear(h, h)

    def forward(self, x):
        few = F.avg_pool1d(x.transpose(1, 2), self.n, ceil_mode=self.ceil).transpose(1, 2)
        q = heads_of(self.q(x), self.a)
        k, v = (heads_of(t, self.a) for t in self.kv(few).chunk(2, 2))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Convolved(nn.Module):
    def __init__(self, h, n) -> None:
        super().__init__()
        self.conv, self.n = nn.Conv1d(h, h, n, padding=n - 1, groups=h), n

    def forward(self, x):
        return F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)


class Latents(nn.Module):
    """`q` learned queries read the sequence, and the sequence reads them."""

    def __init__(self, h, a, q) -> None:
        super().__init__()
        self.a, self.latents = a, nn.Parameter(torch.zeros(q, h))
        self.q, self.kv, self.out = nn.Linear(h, h), nn.Linear(h, 2 * h), nn.Linear(h, h)

    def read(self, x, from_):
        k, v = (heads_of(t, self.a) for t in self.kv(from_).chunk(2, 2))
        y = F.scaled_dot_product_attention(heads_of(self.q(x), self.a), k, v)
        return self.out(y.transpose(1, 2).flatten(2))

    def forward(self, x):
        return self.read(x, self.read(self.latents.expand(x.shape[0], -1, -1), x))


class Library(nn.Module):
    def __init__(self, h, a, weights) -> None:
        super().__init__()
        self.attention, self.weights = nn.MultiheadAttention(h, a, batch_first=True), weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.weights)[0]


# --- two streams --------------------------------------------------------------------------------------------------


class TwoJoint(nn.Module):
    """Both streams attend to both, with projections of their own."""

    def __init__(self, h, a, fused=True) -> None:
        super().__init__()
        self.a, self.fused = a, fused
        self.first, self.second = nn.Linear(h, 3 * h), nn.Linear(h, 3 * h)
        self.out, self.other = nn.Linear(h, h), nn.Linear(h, h)

    def forward(self, x, c):
        q, k, v = (heads_of(t, self.a) for t in torch.cat([self.second(c), self.first(x)], 1).chunk(3, 2))
        y = F.scaled_dot_product_attention(q, k, v) if self.fused else written_out(q, k, v)
        c_made, made = y.transpose(1, 2).flatten(2).split([c.shape[1], x.shape[1]], 1)
        return x + self.out(made), c + self.other(c_made)


class TwoCross(nn.Module):
    """kind: "", "bool" (a mask of all queries and keys), "padding"."""

    def __init__(self, h, a, fused=True, kind="") -> None:
        super().__init__()
        self.a, self.fused, self.kind = a, fused, kind
        self.q, self.kv, self.out = nn.Linear(h, h), nn.Linear(h, 2 * h), nn.Linear(h, h)

    def forward(self, x, c):
        q, (k, v) = heads_of(self.q(x), self.a), (heads_of(t, self.a) for t in self.kv(c).chunk(2, 2))
        shape = {"bool": (x.shape[1], c.shape[1]), "padding": (x.shape[0], 1, 1, c.shape[1])}.get(self.kind)
        mask = torch.ones(shape, dtype=torch.bool, device=x.device) if shape else None
        y = F.scaled_dot_product_attention(q, k, v, mask) if self.fused else written_out(q, k, v, mask)
        return x + self.out(y.transpose(1, 2).flatten(2)), c


class TwoParts(nn.Module):
    """A part for the first stream alone, or for both."""

    def __init__(self, part, both=False) -> None:
        super().__init__()
        self.part, self.both = part, both

    def forward(self, x, c):
        return x + self.part(x), c + self.part(c) if self.both else c
