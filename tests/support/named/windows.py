"""Attention within windows: of an image, shifted in every second layer, or of blocks of a sequence; with padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def into_windows(x, w):
    b, height, width, h = x.shape
    x = x.view(b, height // w, w, width // w, w, h)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, h)


def out_of_windows(x, w, height, width):
    x = x.view(-1, height // w, width // w, w, w, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


class WindowAttention(nn.Module):
    """With a learned bias for every distance within the window."""

    def __init__(self, h: int, a: int, w: int, fused: bool) -> None:
        super().__init__()
        self.a, self.fused, self.qkv, self.out = a, fused, nn.Linear(h, 3 * h), nn.Linear(h, h)
        self.table, self.w = nn.Parameter(torch.zeros((2 * w - 1) ** 2, a)), w

    def index(self, device):
        """Which distance two positions of a window have. A buffer of it would have 34 GB for windows of 256."""
        at = torch.arange(self.w, device=device)
        at = torch.stack(torch.meshgrid(at, at, indexing="ij")).flatten(1)
        apart = (at[:, :, None] - at[:, None]) + self.w - 1
        return apart[0] * (2 * self.w - 1) + apart[1]

    def forward(self, x, mask=None):
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        bias = self.table[self.index(x.device)].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, bias.expand(len(x), -1, -1, -1).to(q.dtype))
        else:
            y = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3) + bias).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))


class Windowed(nn.Module):
    """Pads to whole windows, and moves them by `shift`."""

    def __init__(self, h: int, a: int, w: int, shift: int, fused: bool) -> None:
        super().__init__()
        self.w, self.shift, self.attention = w, shift, WindowAttention(h, a, w, fused)

    def mask(self, x):
        """What was rolled in from the other side is not seen."""
        _, height, width, _ = x.shape
        regions, n = torch.zeros(1, height, width, 1, device=x.device), 0
        parts = (slice(0, -self.w), slice(-self.w, -self.shift), slice(-self.shift, None))
        for rows in parts:
            for columns in parts:
                regions[:, rows, columns] = n
                n += 1
        regions = into_windows(regions, self.w).squeeze(2)
        return torch.where(regions[:, None] == regions[:, :, None], 0.0, -100.0)

    def forward(self, x):
        _, n, m, _ = x.shape
        x = F.pad(x, (0, 0, 0, -m % self.w, 0, -n % self.w))
        _, height, width, _ = x.shape
        mask = None
        if self.shift:
            x, mask = torch.roll(x, (-self.shift, -self.shift), (1, 2)), self.mask(x)
        x = out_of_windows(self.attention(into_windows(x, self.w), mask), self.w, height, width)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :n, :m].contiguous()


class Layer(nn.Module):
    def __init__(self, h: int, mixer: nn.Module) -> None:
        super().__init__()
        self.norm1, self.mixer, self.norm2 = nn.LayerNorm(h), mixer, nn.LayerNorm(h)
        self.feed = nn.Sequential(nn.Linear(h, 4 * h), nn.GELU(), nn.Linear(4 * h, h))

    def forward(self, x):
        x = x + self.mixer(self.norm1(x))
        return x + self.feed(self.norm2(x))


class Merging(nn.Module):
    """Four neighbours become one; an odd side is padded."""

    def __init__(self, h: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * h), nn.Linear(4 * h, 2 * h, bias=False)

    def forward(self, x):
        _, n, m, _ = x.shape
        x = F.pad(x, (0, 0, 0, m % 2, 0, n % 2))
        return self.reduce(self.norm(torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)))


class Swin(nn.Module):
    """merged: a second stage of half the side and twice the width."""

    def __init__(self, p, h, a, w, L, classes, *, fused=False, merged=False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, h, p, p)
        layers = [Layer(h, Windowed(h, a, w, i % 2 * (w // 2), fused)) for i in range(L)]
        if merged:
            layers += [Merging(h)]
            layers += [Layer(2 * h, Windowed(2 * h, 2 * a, w, i % 2 * (w // 2), fused)) for i in range(2)]
        self.layers = nn.Sequential(*layers)
        self.norm, self.head = nn.LayerNorm((1 + merged) * h), nn.Linear((1 + merged) * h, classes)

    def forward(self, x, labels=None):
        x = self.layers(self.patches(x).permute(0, 2, 3, 1))
        logits = self.head(self.norm(x).mean((1, 2)))
        return logits if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


class GlobalAttention(nn.Module):
    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.a, self.qkv, self.out = a, nn.Linear(h, 3 * h), nn.Linear(h, h)

    def forward(self, x):
        flat = self.qkv(x.flatten(1, -2))
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in flat.chunk(3, 2))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).view_as(x)


class InWindows(nn.Module):
    """Global attention in windows, as ViTDet has it: no bias, no shift."""

    def __init__(self, h: int, a: int, w: int) -> None:
        super().__init__()
        self.w, self.attention = w, GlobalAttention(h, a)

    def forward(self, x):
        _, n, m, _ = x.shape
        x = F.pad(x, (0, 0, 0, -m % self.w, 0, -n % self.w))
        _, height, width, _ = x.shape
        x = out_of_windows(self.attention(into_windows(x, self.w)), self.w, height, width)
        return x[:, :n, :m]


class ViTDet(nn.Module):
    """Every second layer is global."""

    def __init__(self, p: int, h: int, a: int, w: int, L: int) -> None:
        super().__init__()
        mixers = (InWindows(h, a, w) if i % 2 == 0 else GlobalAttention(h, a) for i in range(L))
        self.patches, self.layers = nn.Conv2d(3, h, p, p), nn.Sequential(*(Layer(h, mixer) for mixer in mixers))

    def forward(self, x):
        return self.layers(self.patches(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Blocks(nn.Module):
    """Blocks of w positions. look: keys of the block before, too."""

    def __init__(self, h: int, a: int, w: int, *, look: bool = False, fused: bool = True) -> None:
        super().__init__()
        self.a, self.w, self.look, self.fused = a, w, look, fused
        self.qkv, self.out = nn.Linear(h, 3 * h, bias=False), nn.Linear(h, h, bias=False)

    def forward(self, x):
        b, s, h = x.shape
        x = F.pad(x, (0, 0, 0, -s % self.w))
        q, k, v = (t.unflatten(1, (-1, self.w)) for t in self.qkv(x).chunk(3, 2))
        if self.look:
            k, v = (torch.cat([F.pad(t, (0, 0, 0, 0, 1, 0))[:, :-1], t], 2) for t in (k, v))
        q, k, v = (t.flatten(0, 1).unflatten(2, (self.a, -1)).transpose(1, 2) for t in (q, k, v))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, -1, h)[:, :s])


class Language(nn.Module):
    def __init__(self, v: int, h: int, L: int, mixer) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(v, h), nn.Linear(h, v)
        self.layers = nn.Sequential(*(Layer(h, mixer()) for _ in range(L)))

    def forward(self, ids, labels=None):
        logits = self.head(self.layers(self.tokens(ids)))
        if labels is None:
            return logits
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def swin(p: int = 4, h: int = 96, a: int = 3, w: int = 7, L: int = 2, classes: int = 1000) -> nn.Module:
    return Swin(p, h, a, w, L, classes)


def swin_half(p: int = 4, h: int = 128, a: int = 4, w: int = 8, L: int = 2, classes: int = 1000) -> nn.Module:
    return Swin(p, h, a, w, L, classes, fused=True).bfloat16()


def swin_merged(h: int = 96, a: int = 3, w: int = 7, classes: int = 1000) -> nn.Module:
    return Swin(4, h, a, w, 2, classes, merged=True)


def vitdet(p: int = 16, h: int = 768, a: int = 12, w: int = 14, L: int = 4) -> nn.Module:
    return ViTDet(p, h, a, w, L).bfloat16()


def local(v: int = 32000, h: int = 512, a: int = 8, w: int = 128, L: int = 4) -> nn.Module:
    return Language(v, h, L, lambda: Blocks(h, a, w)).bfloat16()


def local_written(v: int = 1000, h: int = 512, a: int = 8, w: int = 100, L: int = 4) -> nn.Module:
    return Language(v, h, L, lambda: Blocks(h, a, w, fused=False))


def looking(v: int = 32000, h: int = 512, a: int = 8, w: int = 128, L: int = 4) -> nn.Module:
    return Language(v, h, L, lambda: Blocks(h, a, w, look=True, fused=False)).bfloat16()


def labelled(b: int = 4, n: int = 224, classes: int = 1000) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(b, 3, n, n), "labels": torch.randint(classes, (b,))}


def half_image(b: int = 4, n: int = 256) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, 3, n, n, dtype=torch.bfloat16),)


def large_image(b: int = 1, n: int = 1024) -> tuple[torch.Tensor, ...]:
    return half_image(b, n)


def two_large(b: int = 2, n: int = 1024) -> tuple[torch.Tensor, ...]:
    return half_image(b, n)


def odd_image(b: int = 2, n: int = 300) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, 3, n, n),)


def ids(b: int = 4, s: int = 1000, v: int = 32000) -> dict[str, torch.Tensor]:
    made = torch.randint(v, (b, s))
    return {"ids": made, "labels": made}


def whole_ids(b: int = 2, s: int = 1024, v: int = 32000) -> dict[str, torch.Tensor]:
    return ids(b, s, v)


def only_ids(b: int = 4, s: int = 512, v: int = 1000) -> tuple[torch.Tensor, ...]:
    return (torch.randint(v, (b, s)),)


MODELS = {
    "swin": (swin, labelled),
    "swin, odd": (swin, odd_image),
    "swin, bf16": (swin_half, half_image),
    "swin, merged": (swin_merged, labelled),
    "vitdet": (vitdet, two_large),
    "vitdet, one": (vitdet, large_image),
    "blocks": (local, ids),
    "blocks, whole": (local, whole_ids),
    "blocks, written": (local_written, only_ids),
    "blocks, looking back": (looking, ids),
}
