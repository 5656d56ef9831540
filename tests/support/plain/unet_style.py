"""A diffusion UNet: convolutions, group norms, attention at the bottom."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

device = "cuda" if torch.cuda.is_available() else "cpu"


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        half = self.dim // 2
        emb = torch.exp(torch.arange(half, device=x.device) * -(math.log(10000) / (half - 1)))
        emb = x[:, None] * emb[None, :]
        return torch.cat((emb.sin(), emb.cos()), dim=-1)


class ResnetBlock(nn.Module):
    def __init__(self, dim, dim_out, time_emb_dim, groups=8):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_emb_dim, dim_out))
        self.norm1, self.conv1 = nn.GroupNorm(groups, dim), nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, dim_out), nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.res_conv = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.mlp(temb)[:, :, None, None]
        return self.conv2(F.silu(self.norm2(h))) + self.res_conv(x)


class SpatialAttention(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.heads = heads
        self.norm, self.to_qkv, self.to_out = nn.GroupNorm(1, dim), nn.Conv2d(dim, dim * 3, 1), nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = (t.reshape(b, self.heads, c // self.heads, h * w) for t in self.to_qkv(self.norm(x)).chunk(3, dim=1))
        sim = torch.einsum("b h d i, b h d j -> b h i j", q * (c // self.heads) ** -0.5, k)
        out = torch.einsum("b h i j, b h d j -> b h d i", sim.softmax(dim=-1), v)
        return x + self.to_out(out.reshape(b, c, h, w))


class Unet(nn.Module):
    def __init__(self, dim=64, dim_mults=(1, 2, 4), channels=3, heads=4):
        super().__init__()
        self.init_conv = nn.Conv2d(channels, dim, 7, padding=3)
        time_dim = dim * 4
        self.time_mlp = nn.Sequential(SinusoidalPosEmb(dim), nn.Linear(dim, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim))
        dims = [dim * m for m in dim_mults]
        pairs = list(zip([dim] + dims[:-1], dims))
        self.downs = nn.ModuleList(
            [nn.ModuleList([ResnetBlock(i, i, time_dim), nn.Conv2d(i, o, 4, 2, 1)]) for i, o in pairs]
        )
        self.mid1, self.mid_attn = ResnetBlock(dims[-1], dims[-1], time_dim), SpatialAttention(dims[-1], heads)
        self.mid2 = ResnetBlock(dims[-1], dims[-1], time_dim)
        self.ups = nn.ModuleList(
            [nn.ModuleList([nn.ConvTranspose2d(o, i, 4, 2, 1), ResnetBlock(2 * i, i, time_dim)]) for i, o in reversed(pairs)]
        )
        self.final = nn.Conv2d(dim, channels, 1)
        self.to(device)

    def forward(self, x, time):
        x = self.init_conv(x)
        t = self.time_mlp(time)
        skips = []
        for block, down in self.downs:
            x = block(x, t)
            skips.append(x)
            x = down(x)
        x = self.mid2(self.mid_attn(self.mid1(x, t)), t)
        for up, block in self.ups:
            x = block(torch.cat((up(x), skips.pop()), dim=1), t)
        return self.final(x)
