"""A module with training_step and configure_optimizers around the network; sizes in hparams."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F


class EncoderBlock(nn.Module):
    def __init__(self, input_dim, num_heads, dim_feedforward, dropout=0.0):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(input_dim, num_heads, batch_first=True)
        self.linear_net = nn.Sequential(nn.Linear(input_dim, dim_feedforward), nn.Dropout(dropout), nn.ReLU(inplace=True),
                                        nn.Linear(dim_feedforward, input_dim))
        self.norm1, self.norm2, self.dropout = nn.LayerNorm(input_dim), nn.LayerNorm(input_dim), nn.Dropout(dropout)

    def forward(self, x, mask=None):
        attn_out, _ = self.self_attn(x, x, x, attn_mask=mask)
        x = self.norm1(x + self.dropout(attn_out))
        return self.norm2(x + self.dropout(self.linear_net(x)))


class TransformerPredictor(nn.Module):
    def __init__(self, hparams):
        super().__init__()
        self.hparams = hparams
        self.input_net = nn.Sequential(nn.Dropout(hparams.dropout), nn.Linear(hparams.input_dim, hparams.model_dim))
        self.layers = nn.ModuleList(
            [EncoderBlock(hparams.model_dim, hparams.num_heads, 2 * hparams.model_dim, hparams.dropout) for _ in range(hparams.num_layers)]
        )
        self.output_net = nn.Linear(hparams.model_dim, hparams.num_classes)

    def forward(self, x, mask=None):
        x = self.input_net(x)
        for layer in self.layers:
            x = layer(x, mask)
        return self.output_net(x)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x).flatten(0, 1), y.flatten())


def get_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_dim", type=int, default=16)
    parser.add_argument("--model_dim", type=int, default=128)
    parser.add_argument("--num_heads", type=int, default=4)
    parser.add_argument("--num_layers", type=int, default=6)
    parser.add_argument("--num_classes", type=int, default=10)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--data", required=True)
    return parser
