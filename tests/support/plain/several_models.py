"""Two models of equal standing that share their layers."""

import torch
import torch.nn as nn


class Layer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attn, self.ff = nn.MultiheadAttention(dim, heads, batch_first=True), nn.Linear(dim, dim)

    def forward(self, x):
        x = x + self.attn(x, x, x, need_weights=False)[0]
        return x + torch.relu(self.ff(x))


class TextModel(nn.Module):
    def __init__(self, vocab_size=1000, dim=64, heads=4, depth=2):
        super().__init__()
        self.embed, self.layers = nn.Embedding(vocab_size, dim), nn.ModuleList(Layer(dim, heads) for _ in range(depth))

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return x


class VisionModel(nn.Module):
    def __init__(self, image_size=32, patch_size=8, dim=64, heads=4, depth=2):
        super().__init__()
        self.stem = nn.Conv2d(3, dim, patch_size, patch_size)
        self.layers = nn.ModuleList(Layer(dim, heads) for _ in range(depth))

    def forward(self, pixel_values):
        x = self.stem(pixel_values).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x


def build(kind="text", dim=64):
    return TextModel(dim=dim) if kind == "text" else VisionModel(dim=dim)
