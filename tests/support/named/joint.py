"""Two streams, of an image and of a text, with projections of their own and one attention over both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def modulated(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


def rotated(x, cos, sin):
    one, two = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([one * cos - two * sin, one * sin + two * cos], -1).flatten(3)


def attended(q, k, v, *, fused: bool = True):
    if fused:
        y = F.scaled_dot_product_attention(q, k, v)
    else:
        y = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(-1) @ v
    return y.transpose(1, 2).flatten(2)


class Stream(nn.Module):
    """What a stream has for itself in a layer. last: nothing of it is needed after the attention."""

    def __init__(self, h: int, a: int, f: int, *, last: bool = False, normed: bool = True) -> None:
        super().__init__()
        self.a, self.last = a, last
        self.norm1 = nn.LayerNorm(h, elementwise_affine=False)
        self.q, self.k, self.v = (nn.Linear(h, h) for _ in range(3))
        self.q_norm, self.k_norm = (nn.RMSNorm(h // a) if normed else nn.Identity() for _ in range(2))
        self.modulation = nn.Linear(h, (2 if last else 6) * h)
        if not last:
            self.out, self.norm2 = nn.Linear(h, h), nn.LayerNorm(h, elementwise_affine=False)
            self.feed = nn.Sequential(nn.Linear(h, f), nn.GELU(approximate="tanh"), nn.Linear(f, h))

    def before(self, x, c):
        shift, scale, *rest = self.modulation(F.silu(c)).chunk(2 if self.last else 6, 1)
        x = modulated(self.norm1(x), shift, scale)
        q, k, v = (f(x).unflatten(2, (self.a, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        return (self.q_norm(q), self.k_norm(k), v), rest

    def after(self, x, y, gate1, shift, scale, gate2):
        x = x + gate1[:, None] * self.out(y)
        return x + gate2[:, None] * self.feed(modulated(self.norm2(x), shift, scale))


class Joint(nn.Module):
    def __init__(self, h: int, a: int, f: int, *, last: bool = False, normed: bool = True, fused: bool = True) -> None:
        super().__init__()
        self.image, self.text = Stream(h, a, f, normed=normed), Stream(h, a, f, last=last, normed=normed)
        self.fused = fused

    def forward(self, x, text, c, at=None):
        (of_text, rest_text), (of_image, rest) = self.text.before(text, c), self.image.before(x, c)
        q, k, v = (torch.cat(pair, 2) for pair in zip(of_text, of_image, strict=True))
        if at is not None:
            q, k = rotated(q, *at), rotated(k, *at)
        y_text, y = attended(q, k, v, fused=self.fused).split([text.shape[1], x.shape[1]], 1)
        x = self.image.after(x, y, *rest)
        return x, text if self.text.last else self.text.after(text, y_text, *rest_text)


class Single(nn.Module):
    """Flux's second kind of layer: both streams as one, attention and feed-forward side by side."""

    def __init__(self, h: int, a: int, f: int) -> None:
        super().__init__()
        self.a, self.sizes, self.norm = a, (3 * h, f), nn.LayerNorm(h, elementwise_affine=False)
        self.into, self.out, self.modulation = nn.Linear(h, 3 * h + f), nn.Linear(h + f, h), nn.Linear(h, 3 * h)
        self.q_norm, self.k_norm = nn.RMSNorm(h // a), nn.RMSNorm(h // a)

    def forward(self, x, c, at):
        shift, scale, gate = self.modulation(F.silu(c)).chunk(3, 1)
        qkv, up = self.into(modulated(self.norm(x), shift, scale)).split(self.sizes, 2)
        q, k, v = qkv.unflatten(2, (3, self.a, -1)).permute(2, 0, 3, 1, 4)
        y = attended(rotated(self.q_norm(q), *at), rotated(self.k_norm(k), *at), v)
        return x + gate[:, None] * self.out(torch.cat([y, F.gelu(up, approximate="tanh")], 2))


class MMDiT(nn.Module):
    """Patches of a latent, and a text's hidden states; the last layer drops the text."""

    def __init__(self, p: int, h: int, a: int, f: int, L: int, width: int, *, drops: bool, **options) -> None:
        super().__init__()
        self.p, self.patches, self.text, self.vector = p, nn.Conv2d(16, h, p, p), nn.Linear(width, h), nn.Linear(256, h)
        self.layers = nn.ModuleList(Joint(h, a, f, last=drops and i == L - 1, **options) for i in range(L))
        self.out = nn.Linear(h, 16 * p * p)

    def forward(self, x, text, c, noise=None):
        x = self.patches(x)
        side = x.shape[-1]
        x, text, c = x.flatten(2).transpose(1, 2), self.text(text), self.vector(c)
        for layer in self.layers:
            x, text = layer(x, text, c)
        x = F.pixel_shuffle(self.out(x).transpose(1, 2).unflatten(2, (side, side)), self.p)
        return x if noise is None else {"loss": F.mse_loss(x, noise)}


class Flux(nn.Module):
    """Tokens of both streams; L layers of two streams and D of one."""

    def __init__(self, h: int, a: int, f: int, L: int, D: int, width: int) -> None:
        super().__init__()
        self.d, self.image, self.text, self.vector = h // a, nn.Linear(64, h), nn.Linear(width, h), nn.Linear(768, h)
        self.doubles = nn.ModuleList(Joint(h, a, f) for _ in range(L))
        self.singles = nn.ModuleList(Single(h, a, f) for _ in range(D))
        self.norm, self.out = nn.LayerNorm(h, elementwise_affine=False), nn.Linear(h, 64)

    def at(self, s: int, x):
        angles = torch.arange(s, device=x.device)[:, None] * 10000 ** -torch.linspace(0, 1, self.d // 2).to(x.device)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    def forward(self, x, text, c, target=None):
        x, text, c = self.image(x), self.text(text), self.vector(c)
        at, t = self.at(text.shape[1] + x.shape[1], x), text.shape[1]
        for layer in self.doubles:
            x, text = layer(x, text, c, at)
        x = torch.cat([text, x], 1)
        for layer in self.singles:
            x = layer(x, c, at)
        x = self.out(self.norm(x[:, t:]))
        return x if target is None else {"loss": F.mse_loss(x.float(), target.float())}


class Plain(nn.Module):
    """Hidden states of both streams, and nothing around the layers."""

    def __init__(self, h: int, a: int, f: int, L: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Joint(h, a, f, normed=False, fused=False) for _ in range(L))

    def forward(self, x, text, c):
        for layer in self.layers:
            x, text = layer(x, text, c)
        return x, text


def sd3(p: int = 2, h: int = 1536, a: int = 24, f: int = 6144, L: int = 6, width: int = 4096) -> nn.Module:
    return MMDiT(p, h, a, f, L, width, drops=True).bfloat16()


def full(p: int = 2, h: int = 512, a: int = 8, f: int = 2048, L: int = 4, width: int = 768) -> nn.Module:
    return MMDiT(p, h, a, f, L, width, drops=False, normed=False)


def flux(h: int = 3072, a: int = 24, L: int = 3, D: int = 4, width: int = 4096) -> nn.Module:
    return Flux(h, a, 4 * h, L, D, width).bfloat16()


def plain(h: int = 512, a: int = 8, f: int = 2048, L: int = 3) -> nn.Module:
    return Plain(h, a, f, L)


def half_latent(b: int = 2, n: int = 64, t: int = 154, width: int = 4096) -> dict[str, torch.Tensor]:
    return {name: x.bfloat16() for name, x in latent(b, n, t, width).items()}


def latent(b: int = 2, n: int = 64, t: int = 77, width: int = 768) -> dict[str, torch.Tensor]:
    x = torch.randn(b, 16, n, n)
    return {"x": x, "text": torch.randn(b, t, width), "c": torch.randn(b, 256), "noise": torch.randn_like(x)}


def untrained(b: int = 2, n: int = 64, t: int = 77, width: int = 768) -> tuple[torch.Tensor, ...]:
    return torch.randn(b, 16, n, n), torch.randn(b, t, width), torch.randn(b, 256)


def packed(b: int = 1, s: int = 1024, t: int = 512, width: int = 4096) -> dict[str, torch.Tensor]:
    made = {"x": torch.randn(b, s, 64), "text": torch.randn(b, t, width), "c": torch.randn(b, 768)}
    made = {name: x.bfloat16() for name, x in made.items()}
    return {**made, "target": torch.randn_like(made["x"])}


def several(b: int = 2, s: int = 1024, t: int = 512, width: int = 4096) -> dict[str, torch.Tensor]:
    return packed(b, s, t, width)


def hidden(b: int = 2, s: int = 256, t: int = 77, h: int = 512) -> tuple[torch.Tensor, ...]:
    return torch.randn(b, s, h), torch.randn(b, t, h), torch.randn(b, h)


MODELS = {
    "sd3": (sd3, half_latent),
    "full, loss": (full, latent),
    "full": (full, untrained),
    "flux": (flux, several),
    "flux, one": (flux, packed),
    "written": (plain, hidden),
}
