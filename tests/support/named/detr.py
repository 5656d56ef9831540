"""Detectors: a backbone or a memory, an encoder, and a decoder with learned queries."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn


class ConvBackbone(nn.Module):
    """Every convolution halves the image: of n pixels n/16 are left, rounded up."""

    def __init__(self, h: int) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(8, o) for o in widths[1:])
        self.project = nn.Conv2d(widths[-1], h, 1)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x)).relu()
        return self.project(x)


class Sides(nn.Module):
    """Learned positions, half of the width for rows and half for columns."""

    def __init__(self, h: int, most: int = 64) -> None:
        super().__init__()
        self.rows, self.columns = nn.Embedding(most, h // 2), nn.Embedding(most, h // 2)

    def forward(self, x):
        height, width = x.shape[-2:]
        rows = self.rows(torch.arange(height, device=x.device))
        columns = self.columns(torch.arange(width, device=x.device))
        both = [columns[None].expand(height, -1, -1), rows[:, None].expand(-1, width, -1)]
        return torch.cat(both, -1).flatten(0, 1)


class LibraryAttention(nn.Module):
    """As DETR calls it: sequence first, and without the weights."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(h, a)

    def forward(self, q, k, v):
        q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        return self.attention(q, k, v, need_weights=False)[0].transpose(0, 1)


class Attention(nn.Module):
    def __init__(self, h: int, a: int, fused: bool = True) -> None:
        super().__init__()
        self.a, self.fused = a, fused
        self.q, self.k, self.v, self.out = (nn.Linear(h, h) for _ in range(4))

    def forward(self, q, k, v):
        q, k, v = (f(t).unflatten(2, (self.a, -1)).transpose(1, 2) for f, t in ((self.q, q), (self.k, k), (self.v, v)))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    def __init__(self, h: int, f: int) -> None:
        super().__init__(nn.Linear(h, f), nn.ReLU(), nn.Linear(f, h))


class EncoderLayer(nn.Module):
    def __init__(self, h: int, f: int, attention) -> None:
        super().__init__()
        self.attention, self.feed = attention(), FeedForward(h, f)
        self.norm1, self.norm2 = nn.LayerNorm(h), nn.LayerNorm(h)

    def forward(self, x, at):
        x = self.norm1(x + self.attention(x + at, x + at, x))
        return self.norm2(x + self.feed(x))


class DecoderLayer(nn.Module):
    def __init__(self, h: int, f: int, attention, p: float = 0.0) -> None:
        super().__init__()
        self.itself, self.cross, self.feed, self.p = attention(), attention(), FeedForward(h, f), p
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(h) for _ in range(3))

    def drop(self, x):
        return F.dropout(x, self.p, self.training)

    def forward(self, x, memory, at, queries):
        x = self.norm1(x + self.drop(self.itself(x + queries, x + queries, x)))
        x = self.norm2(x + self.drop(self.cross(x + queries, memory + at, memory)))
        return self.norm3(x + self.drop(self.feed(x)))


class Decoder(nn.Module):
    """deep: heads and a loss after every layer."""

    def __init__(self, h: int, f: int, L: int, q: int, c: int, attention, deep: bool = False, p: float = 0.0) -> None:
        super().__init__()
        self.queries, self.deep = nn.Embedding(q, h), deep
        self.layers = nn.ModuleList(DecoderLayer(h, f, attention, p) for _ in range(L))
        self.norm, self.classes = nn.LayerNorm(h), nn.Linear(h, c + 1)
        self.boxes = nn.Sequential(nn.Linear(h, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, 4))

    def forward(self, memory, at):
        queries = self.queries.weight[None].expand(memory.shape[0], -1, -1)
        x, seen = torch.zeros_like(queries), []
        for layer in self.layers:
            x = layer(x, memory, at, queries)
            seen.append(self.norm(x))
        x = torch.stack(seen) if self.deep else seen[-1]
        return self.classes(x), self.boxes(x).sigmoid()


class Detector(nn.Module):
    def __init__(self, backbone: nn.Module, h: int, f: int, L: int, attention, decoder: Decoder) -> None:
        super().__init__()
        self.backbone, self.sides, self.decoder = backbone, Sides(h), decoder
        self.encoder = nn.ModuleList(EncoderLayer(h, f, attention) for _ in range(L))

    def forward(self, image, labels=None, boxes=None):
        x = self.backbone(image)
        at, x = self.sides(x), x.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            x = layer(x, at)
        classes, found = self.decoder(x, at)
        if labels is None:
            return {"classes": classes, "boxes": found}
        if self.decoder.deep:
            labels, boxes = labels.expand(len(classes), -1, -1), boxes.expand(len(found), -1, -1, -1)
        loss = F.cross_entropy(classes.flatten(0, -2), labels.flatten()) + 5 * F.l1_loss(found, boxes)
        return {"loss": loss, "classes": classes, "boxes": found}


class OverMemory(nn.Module):
    """A decoder over tokens that somebody else has made."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, memory, labels=None):
        classes, _ = self.decoder(memory, torch.zeros_like(memory))
        if labels is None:
            return classes
        return {"loss": F.cross_entropy(classes.flatten(0, 1), labels.flatten())}


def conv(h: int = 256, a: int = 8, f: int = 1024, L: int = 3, q: int = 100, c: int = 91) -> nn.Module:
    def attention():
        return LibraryAttention(h, a)

    return Detector(ConvBackbone(h), h, f, L, attention, Decoder(h, f, L, q, c, attention, deep=True, p=0.1))


def patch(h: int = 256, a: int = 8, f: int = 1024, L: int = 3, q: int = 100, c: int = 91, p: int = 16) -> nn.Module:
    def attention():
        return Attention(h, a)

    return Detector(nn.Conv2d(3, h, p, p), h, f, L, attention, Decoder(h, f, L, q, c, attention)).bfloat16()


def written(h: int = 256, a: int = 8, f: int = 1024, L: int = 3, q: int = 100, c: int = 91, p: int = 16) -> nn.Module:
    """Encoder and decoder of different depths, attention written out."""

    def attention():
        return Attention(h, a, fused=False)

    return Detector(nn.Conv2d(3, h, p, p), h, f, 2, attention, Decoder(h, f, L, q, c, attention))


def memory(h: int = 256, a: int = 8, f: int = 1024, L: int = 3, q: int = 100, c: int = 91) -> nn.Module:
    return OverMemory(Decoder(h, f, L, q, c, lambda: Attention(h, a))).bfloat16()


def targets(b: int = 2, n: int = 512, q: int = 100, c: int = 91) -> dict[str, torch.Tensor]:
    return {"image": torch.randn(b, 3, n, n), "labels": torch.randint(c, (b, q)), "boxes": torch.rand(b, q, 4)}


def image(b: int = 2, n: int = 512) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, 3, n, n),)


def half_targets(b: int = 2, n: int = 512, q: int = 100, c: int = 91) -> dict[str, torch.Tensor]:
    made = targets(b, n, q, c)
    return {**made, "image": made["image"].bfloat16(), "boxes": made["boxes"].bfloat16()}


def tokens(b: int = 2, s: int = 850, h: int = 256, q: int = 100, c: int = 91) -> dict[str, torch.Tensor]:
    return {"memory": torch.randn(b, s, h, dtype=torch.bfloat16), "labels": torch.randint(c, (b, q))}


def only_tokens(b: int = 2, s: int = 850, h: int = 256) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, s, h, dtype=torch.bfloat16),)


MODELS = {
    "conv": (conv, targets),
    "patch": (patch, half_targets),
    "written": (written, image),
    "memory": (memory, tokens),
    "memory, no loss": (memory, only_tokens),
}
QUERIES = (100, 300, 900, 4000)
