"""A GPT with a dataclass config, a tied head and a loss when targets are given."""

import math
from dataclasses import dataclass
import torch, torch.nn as nn
from torch.nn import functional as F

class Norm(nn.Module):
    def __init__(self, n, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n)); self.bias = nn.Parameter(torch.zeros(n)) if bias else None
    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)

class Attn(nn.Module):
    def __init__(self, config):
        super().__init__()
        assert config.n_embd % config.n_head == 0
        self.qkv = nn.Linear(config.n_embd, 3*config.n_embd, bias=config.bias)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.n_head, self.n_embd, self.p = config.n_head, config.n_embd, config.dropout
    def forward(self, x):
        B,T,C = x.size()
        q,k,v = self.qkv(x).split(self.n_embd, dim=2)
        q,k,v = (t.view(B,T,self.n_head,C//self.n_head).transpose(1,2) for t in (q,k,v))
        y = F.scaled_dot_product_attention(q,k,v,is_causal=True,dropout_p=self.p if self.training else 0)
        return self.proj(y.transpose(1,2).contiguous().view(B,T,C))

class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.a, self.b, self.at = Norm(config.n_embd, config.bias), Norm(config.n_embd, config.bias), Attn(config)
        self.m = nn.Sequential(nn.Linear(config.n_embd, 4*config.n_embd), nn.GELU(), nn.Linear(4*config.n_embd, config.n_embd))
    def forward(self, x):
        x = x + self.at(self.a(x))
        return x + self.m(self.b(x))

@dataclass
class GPTConfig:
    block_size: int = 1024
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(dict(wte=nn.Embedding(config.vocab_size, config.n_embd), wpe=nn.Embedding(config.block_size, config.n_embd),
          h=nn.ModuleList([Block(config) for _ in range(config.n_layer)]), ln_f=Norm(config.n_embd, config.bias)))
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
    def forward(self, idx, targets=None):
        b, t = idx.size()
        assert t <= self.config.block_size, f"cannot forward {t}, block size is {self.config.block_size}"
        pos = torch.arange(0, t, device=idx.device)
        x = self.transformer.wte(idx) + self.transformer.wpe(pos)
        for block in self.transformer.h: x = block(x)
        x = self.transformer.ln_f(x)
        if targets is not None:
            logits = self.lm_head(x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        else:
            logits = self.lm_head(x[:, [-1], :]); loss = None
        return logits, loss
