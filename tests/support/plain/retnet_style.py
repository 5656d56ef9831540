"""Retention: attention with a decay instead of a softmax."""

import torch
import torch.nn as nn


class SimpleRetention(nn.Module):
    def __init__(self, hidden_size, gamma, head_size):
        super().__init__()
        self.gamma = gamma
        self.W_Q = nn.Parameter(torch.randn(hidden_size, head_size) / hidden_size)
        self.W_K = nn.Parameter(torch.randn(hidden_size, head_size) / hidden_size)
        self.W_V = nn.Parameter(torch.randn(hidden_size, head_size) / hidden_size)

    def forward(self, X):
        n = X.shape[1]
        D = self._get_D(n).to(X.device)
        Q, K, V = X @ self.W_Q, X @ self.W_K, X @ self.W_V
        return ((Q @ K.permute(0, 2, 1)) * D.unsqueeze(0)) @ V

    def _get_D(self, n):
        i, j = torch.arange(n).unsqueeze(1), torch.arange(n).unsqueeze(0)
        return (self.gamma ** (i - j)) * (i >= j).float()


class MultiScaleRetention(nn.Module):
    def __init__(self, hidden_size, heads):
        super().__init__()
        assert hidden_size % heads == 0
        gammas = (1 - torch.exp(torch.linspace(-3.5, -6.2, heads))).detach().cpu().tolist()
        self.retentions = nn.ModuleList([SimpleRetention(hidden_size, g, hidden_size // heads) for g in gammas])
        self.W_G, self.W_O = nn.Linear(hidden_size, hidden_size, bias=False), nn.Linear(hidden_size, hidden_size, bias=False)
        self.group_norm = nn.GroupNorm(heads, hidden_size)

    def forward(self, X):
        Y = torch.cat([r(X) for r in self.retentions], dim=2)
        Y = self.group_norm(Y.reshape(-1, Y.shape[-1])).reshape(Y.shape)
        return self.W_O(nn.functional.silu(self.W_G(X)) * Y)


class RetNet(nn.Module):
    def __init__(self, layers, hidden_dim, ffn_size, heads, vocab_size=1000):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, hidden_dim)
        self.retentions = nn.ModuleList([MultiScaleRetention(hidden_dim, heads) for _ in range(layers)])
        self.ffns = nn.ModuleList(
            [nn.Sequential(nn.Linear(hidden_dim, ffn_size), nn.GELU(), nn.Linear(ffn_size, hidden_dim)) for _ in range(layers)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(hidden_dim) for _ in range(2 * layers)])

    def forward(self, X):
        X = self.embed(X)
        for i, (retention, ffn) in enumerate(zip(self.retentions, self.ffns)):
            Y = retention(self.norms[2 * i](X)) + X
            X = ffn(self.norms[2 * i + 1](Y)) + Y
        return X
