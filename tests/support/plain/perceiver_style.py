"""Perceiver: few latents look at many inputs."""

import torch
from torch import nn
import torch.nn.functional as F


class PreNorm(nn.Module):
    def __init__(self, dim, fn, context_dim=None):
        super().__init__()
        self.fn, self.norm = fn, nn.LayerNorm(dim)
        self.norm_context = nn.LayerNorm(context_dim) if context_dim is not None else None

    def forward(self, x, **kwargs):
        if self.norm_context is not None:
            kwargs.update(context=self.norm_context(kwargs["context"]))
        return self.fn(self.norm(x), **kwargs)


class FeedForward(nn.Module):
    def __init__(self, dim, mult=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, dim * mult), nn.GELU(), nn.Linear(dim * mult, dim))

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, query_dim, context_dim=None, heads=8, dim_head=64):
        super().__init__()
        inner, context_dim = dim_head * heads, context_dim or query_dim
        self.heads = heads
        self.to_q, self.to_kv = nn.Linear(query_dim, inner, bias=False), nn.Linear(context_dim, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, query_dim)

    def forward(self, x, context=None):
        context = x if context is None else context
        q, (k, v) = self.to_q(x), self.to_kv(context).chunk(2, dim=-1)
        q, k, v = (t.view(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(out.transpose(1, 2).flatten(2))


class Perceiver(nn.Module):
    def __init__(self, *, depth, input_dim=64, num_latents=256, latent_dim=512, heads=8, dim_head=64, num_classes=10):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(num_latents, latent_dim))
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            cross = PreNorm(latent_dim, Attention(latent_dim, input_dim, heads, dim_head), context_dim=input_dim)
            this = PreNorm(latent_dim, Attention(latent_dim, None, heads, dim_head))
            self.layers.append(nn.ModuleList([cross, this, PreNorm(latent_dim, FeedForward(latent_dim))]))
        self.to_logits = nn.Linear(latent_dim, num_classes)

    def forward(self, data, mask=None):
        x = self.latents.unsqueeze(0).expand(data.shape[0], -1, -1)
        for cross, self_attn, ff in self.layers:
            x = cross(x, context=data) + x
            x = self_attn(x) + x
            x = ff(x) + x
        return self.to_logits(x.mean(dim=1))
