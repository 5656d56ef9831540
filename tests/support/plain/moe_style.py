"""Mixture of experts: top-k routing, a loop over the experts, an auxiliary loss."""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class MoEConfig:
    vocab_size: int = 32000
    hidden_size: int = 512
    intermediate_size: int = 1024
    num_hidden_layers: int = 4
    num_attention_heads: int = 8
    num_local_experts: int = 4
    num_experts_per_tok: int = 2
    max_position_embeddings: int = 2048


class Expert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)))


class SparseMoeBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.top_k, self.num_experts = config.num_experts_per_tok, config.num_local_experts
        self.gate = nn.Linear(config.hidden_size, self.num_experts, bias=False)
        self.experts = nn.ModuleList([Expert(config) for _ in range(self.num_experts)])

    def forward(self, x):
        b, s, h = x.shape
        x = x.view(-1, h)
        weights = F.softmax(self.gate(x), dim=1)
        top, chosen = torch.topk(weights, self.top_k, dim=-1)
        top = top / top.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            share = (top * (chosen == i)).sum(dim=-1, keepdim=True)
            out = out + share * expert(x)
        density = F.one_hot(chosen[:, 0], self.num_experts).float().mean(0)
        return out.view(b, s, h), (density * weights.mean(0)).sum() * self.num_experts


class MoELayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)
        self.attn = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.moe = SparseMoeBlock(config)

    def forward(self, x, mask):
        y = self.ln1(x)
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        y, aux = self.moe(self.ln2(x))
        return x + y, aux


class MoETransformer(nn.Module):
    def __init__(self, config: MoEConfig = MoEConfig()):
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([MoELayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids, labels=None):
        x, total = self.embed(input_ids), 0.0
        s = input_ids.shape[1]
        mask = torch.ones(s, s, dtype=torch.bool, device=input_ids.device).triu(1)
        for layer in self.layers:
            x, aux = layer(x, mask)
            total = total + aux
        logits = self.lm_head(self.norm(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()) + 0.01 * total
        return {"logits": logits, "aux_loss": total, "loss": loss}
