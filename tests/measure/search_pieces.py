"""Parts of Transformers from which `search_models` makes models at random, each of sizes that it is told.

A file of a made model gets the source of the parts that it uses, so a part may use torch, and other parts, and nothing
else. Every part takes a hidden state (b, s, h) and gives one; those that begin with `Two` take and give two of them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


def up_to(value, multiple):
    return -(-value // multiple) * multiple


# --- norms, feed-forwards -----------------------------------------------------------------------------------------


class HandNorm(nn.Module):
    def __init__(self, h) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(h))

    def forward(self, x):
        y = x.float()
        return self.weight * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).type_as(x)


class FeedForward(nn.Module):
    def __init__(self, h, f, act=F.gelu, p=0.0) -> None:
        super().__init__()
        self.up, self.down, self.act, self.p = nn.Linear(h, f), nn.Linear(f, h), act, p

    def forward(self, x):
        return F.dropout(self.down(self.act(self.up(x))), self.p, self.training)


class Gated(nn.Module):
    def __init__(self, h, f) -> None:
        super().__init__()
        self.both, self.down = nn.Linear(h, 2 * f, bias=False), nn.Linear(f, h, bias=False)

    def forward(self, x):
        gate, up = self.both(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class InPieces(nn.Module):
    """A feed-forward over pieces of `n` positions."""

    def __init__(self, h, f, n) -> None:
        super().__init__()
        self.up, self.down, self.n = nn.Linear(h, f), nn.Linear(f, h), n

    def forward(self, x):
        return torch.cat([self.down(F.relu(self.up(part))) for part in x.split(self.n, 1)], 1)


class Experts(nn.Module):
    """Every expert takes as many tokens as it has room for."""

    def __init__(self, h, f, e, room=1.25) -> None:
        super().__init__()
        self.router, self.room = nn.Linear(h, e, bias=False), room
        self.up, self.down = nn.Parameter(torch.empty(e, h, f)), nn.Parameter(torch.empty(e, f, h))

    def forward(self, x):
        flat = x.flatten(0, 1)
        room = min(math.ceil(self.room * flat.shape[0] / self.up.shape[0]), flat.shape[0])
        weight, chosen = self.router(flat).softmax(0).topk(room, 0)
        taken = flat[chosen.flatten()].unflatten(0, chosen.shape).transpose(0, 1)
        made = (F.silu(taken @ self.up) @ self.down).transpose(0, 1) * weight[:, :, None]
        return torch.zeros_like(flat).index_add(0, chosen.flatten(), made.flatten(0, 1)).view_as(x)


class Adapter(nn.Module):
    """A frozen linear layer with a trained one of rank `r` beside it."""

    def __init__(self, h, r) -> None:
        super().__init__()
        self.whole, self.down, self.up = nn.Linear(h, h).requires_grad_(False), nn.Linear(h, r), nn.Linear(r, h)

    def forward(self, x):
        return self.whole(x) + self.up(F.dropout(self.down(x), 0.1))


class Later(nn.Module):
    def __init__(self, part) -> None:
        super().__init__()
        self.part = part

    def forward(self, x):
        return checkpoint(self.part, x, use_reentrant=False)


# --- models -------------------------------------------------------------------------------------------------------


class Layer(nn.Module):
    def __init__(self, *parts) -> None:
        super().__init__()
        self.norms, self.parts = nn.ModuleList(n for n, _ in parts), nn.ModuleList(p for _, p in parts)

    def forward(self, x):
        for norm, part in zip(self.norms, self.parts, strict=True):
            x = x + part(norm(x))
        return x


class TwoLayer(nn.Module):
    def __init__(self, *parts) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x, c):
        for part in self.parts:
            x, c = part(x, c)
        return x, c


class Tokens(nn.Module):
    """positions: None, or the length of a learned table, which is cut to s."""

    def __init__(self, v, h, positions=None) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(v, h), nn.Embedding(positions, h) if positions else None

    def forward(self, ids):
        x = self.tokens(ids)
        return x if self.positions is None else x + self.positions(torch.arange(ids.shape[1], device=ids.device))


class Patches(nn.Module):
    """Patches of an image, with a class token or not, with `count` learned positions or none."""

    def __init__(self, c, h, p, token=False, count=None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, h, p, p)
        self.token = nn.Parameter(torch.zeros(1, 1, h)) if token else None
        self.positions = nn.Parameter(torch.zeros(count + token, h)) if count else None

    def forward(self, image):
        x = self.conv(image).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        return x if self.positions is None else x + self.positions


class Frames(nn.Module):
    """Frames of sound, strided by two convolutions, as Whisper's."""

    def __init__(self, c, h, stride=2) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(c, h, 3, padding=1), nn.Conv1d(h, h, 3, stride=stride, padding=1)

    def forward(self, sound):
        return F.gelu(self.two(F.gelu(self.one(sound)))).transpose(1, 2)


class Words(nn.Module):
    """kind: "", "shift" (labels are one behind), "last" (the last position only), "pieces" (of `n` tokens)."""

    def __init__(self, h, v, kind="", n=0) -> None:
        super().__init__()
        self.head, self.kind, self.n = nn.Linear(h, v, bias=False), kind, n

    def forward(self, x, ids):
        if self.kind == "shift":
            x, ids = x[:, :-1], ids[:, 1:]
        if self.kind == "last":
            x, ids = x[:, -1:], ids[:, -1:]
        flat, labels = x.flatten(0, 1), ids.flatten()
        if self.kind != "pieces":
            return {"loss": F.cross_entropy(self.head(flat).float(), labels)}
        pieces = zip(flat.split(self.n), labels.split(self.n), strict=True)
        return {"loss": sum(F.cross_entropy(self.head(part), label, reduction="sum") for part, label in pieces)}


class Pooled(nn.Module):
    def __init__(self, h, c) -> None:
        super().__init__()
        self.head = nn.Linear(h, c)

    def forward(self, x, _):
        return {"loss": self.head(x.mean(1)).logsumexp(-1).mean()}


class Net(nn.Module):
    def __init__(self, stem, layers, head) -> None:
        super().__init__()
        self.stem, self.layers, self.head = stem, nn.ModuleList(layers), head

    def forward(self, given):
        x = self.stem(given)
        for layer in self.layers:
            x = layer(x)
        return self.head(x, given)


class TwoNet(nn.Module):
    def __init__(self, stem, other, layers, head) -> None:
        super().__init__()
        self.stem, self.other, self.layers, self.head = stem, other, nn.ModuleList(layers), head

    def forward(self, given, context):
        x, c = self.stem(given), self.other(context)
        for layer in self.layers:
            x, c = layer(x, c)
        return self.head(x, given)
