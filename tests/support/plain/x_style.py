"""Everything is a keyword: a wrapper takes the layers, the layers take what is left in kwargs."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import einsum, nn


def default(val, d):
    return val if val is not None else d


def exists(val):
    return val is not None


def groupby_prefix(prefix, d):
    own = {k[len(prefix) :]: v for k, v in d.items() if k.startswith(prefix)}
    return own, {k: v for k, v in d.items() if not k.startswith(prefix)}


class GEGLU(nn.Module):
    def __init__(self, dim_in, dim_out):
        super().__init__()
        self.proj = nn.Linear(dim_in, dim_out * 2)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim, dim_out=None, mult=4, glu=False, dropout=0.0):
        super().__init__()
        inner = int(dim * mult)
        project_in = nn.Sequential(nn.Linear(dim, inner), nn.GELU()) if not glu else GEGLU(dim, inner)
        self.net = nn.Sequential(project_in, nn.Dropout(dropout), nn.Linear(inner, default(dim_out, dim)))

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, dim, dim_head=64, heads=8, causal=False, dropout=0.0):
        super().__init__()
        self.scale, self.heads, self.causal = dim_head**-0.5, heads, causal
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim_head * heads, bias=False) for _ in range(3))
        self.to_out = nn.Linear(dim_head * heads, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, context=None, mask=None):
        b, n, _ = x.shape
        kv = default(context, x)
        q, k, v = self.to_q(x), self.to_k(kv), self.to_v(kv)
        q, k, v = map(lambda t: t.reshape(b, -1, self.heads, t.shape[-1] // self.heads).transpose(1, 2), (q, k, v))
        dots = einsum("b h i d, b h j d -> b h i j", q, k) * self.scale
        value = -torch.finfo(dots.dtype).max
        if exists(mask):
            dots = dots.masked_fill(~mask[:, None, None, :], value)
        if self.causal:
            i, j = dots.shape[-2:]
            dots = dots.masked_fill(torch.ones((i, j), device=x.device).triu_(j - i + 1).bool(), value)
        attn = self.dropout(dots.softmax(dim=-1))
        out = einsum("b h i j, b h j d -> b h i d", attn, v)
        return self.to_out(out.transpose(1, 2).reshape(b, n, -1))


class AttentionLayers(nn.Module):
    def __init__(self, dim, depth, heads=8, causal=False, **kwargs):
        super().__init__()
        ff_kwargs, kwargs = groupby_prefix("ff_", kwargs)
        attn_kwargs, _ = groupby_prefix("attn_", kwargs)
        self.dim = dim
        norm = partial(nn.LayerNorm, dim)
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            attn = Attention(dim, heads=heads, causal=causal, **attn_kwargs)
            self.layers.append(nn.ModuleList([norm(), attn, norm(), FeedForward(dim, **ff_kwargs)]))

    def forward(self, x, mask=None):
        for norm1, attn, norm2, ff in self.layers:
            x = attn(norm1(x), mask=mask) + x
            x = ff(norm2(x)) + x
        return x


class Encoder(AttentionLayers):
    def __init__(self, **kwargs):
        assert "causal" not in kwargs, "cannot set causality on encoder"
        super().__init__(causal=False, **kwargs)


class Decoder(AttentionLayers):
    def __init__(self, **kwargs):
        assert "causal" not in kwargs, "cannot set causality on decoder"
        super().__init__(causal=True, **kwargs)


class TransformerWrapper(nn.Module):
    def __init__(self, *, num_tokens, max_seq_len, attn_layers, emb_dropout=0.0):
        super().__init__()
        assert isinstance(attn_layers, AttentionLayers), "attention layers must be one of Encoder or Decoder"
        dim = attn_layers.dim
        self.token_emb = nn.Embedding(num_tokens, dim)
        self.pos_emb = nn.Embedding(max_seq_len, dim)
        self.emb_dropout = nn.Dropout(emb_dropout)
        self.attn_layers = attn_layers
        self.norm = nn.LayerNorm(dim)
        self.to_logits = nn.Linear(dim, num_tokens)

    def forward(self, x, return_embeddings=False, mask=None, **kwargs):
        x = self.token_emb(x) + self.pos_emb(torch.arange(x.shape[1], device=x.device))
        x = self.norm(self.attn_layers(self.emb_dropout(x), mask=mask, **kwargs))
        return x if return_embeddings else self.to_logits(x)
