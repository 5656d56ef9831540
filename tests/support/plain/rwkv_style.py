"""RWKV-like: time shift, receptance, and sizes in an args object that nothing in the file describes."""

import torch
import torch.nn as nn
from torch.nn import functional as F


class RWKV_TimeMix(nn.Module):
    def __init__(self, args, layer_id):
        super().__init__()
        self.layer_id = layer_id
        self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
        ratio = layer_id / max(args.n_layer - 1, 1)
        self.time_mix_k = nn.Parameter(torch.ones(1, 1, args.n_embd) * (1 - ratio))
        self.time_decay = nn.Parameter(torch.linspace(-5, 3, args.n_embd))
        self.key = nn.Linear(args.n_embd, args.n_embd, bias=False)
        self.value = nn.Linear(args.n_embd, args.n_embd, bias=False)
        self.receptance = nn.Linear(args.n_embd, args.n_embd, bias=False)
        self.output = nn.Linear(args.n_embd, args.n_embd, bias=False)

    def forward(self, x):
        B, T, C = x.size()
        xx = self.time_shift(x)
        xk = x * self.time_mix_k + xx * (1 - self.time_mix_k)
        k, v, r = self.key(xk), self.value(xk), torch.sigmoid(self.receptance(xk))
        w = torch.exp(k.clamp(max=30) + torch.arange(T, device=x.device)[None, :, None] * torch.exp(self.time_decay))
        wkv = torch.cumsum(w * v, dim=1) / (torch.cumsum(w, dim=1) + 1e-9)
        return self.output(r * wkv)


class RWKV_ChannelMix(nn.Module):
    def __init__(self, args, layer_id):
        super().__init__()
        self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
        self.time_mix_k = nn.Parameter(torch.ones(1, 1, args.n_embd))
        self.key = nn.Linear(args.n_embd, args.dim_ffn, bias=False)
        self.receptance = nn.Linear(args.n_embd, args.n_embd, bias=False)
        self.value = nn.Linear(args.dim_ffn, args.n_embd, bias=False)

    def forward(self, x):
        xk = x * self.time_mix_k + self.time_shift(x) * (1 - self.time_mix_k)
        return torch.sigmoid(self.receptance(xk)) * self.value(torch.square(torch.relu(self.key(xk))))


class Block(nn.Module):
    def __init__(self, args, layer_id):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(args.n_embd), nn.LayerNorm(args.n_embd)
        self.att, self.ffn = RWKV_TimeMix(args, layer_id), RWKV_ChannelMix(args, layer_id)

    def forward(self, x):
        x = x + self.att(self.ln1(x))
        return x + self.ffn(self.ln2(x))


class RWKV(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        if not hasattr(args, "dim_ffn"):
            args.dim_ffn = args.n_embd * 4
        self.emb = nn.Embedding(args.vocab_size, args.n_embd)
        self.blocks = nn.ModuleList([Block(args, i) for i in range(args.n_layer)])
        self.ln_out = nn.LayerNorm(args.n_embd)
        self.head = nn.Linear(args.n_embd, args.vocab_size, bias=False)

    def forward(self, idx):
        args = self.args
        B, T = idx.size()
        assert T <= args.ctx_len, "Cannot forward, model ctx_len is exhausted."
        x = self.emb(idx)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_out(x))

    def training_step(self, batch, batch_idx):
        idx, targets = batch
        logits = self(idx)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
