"""Encoder-decoder with relative positions and a config class without dataclass."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class T5Config:
    def __init__(self, vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8,
                 relative_attention_num_buckets=32, dropout_rate=0.1, layer_norm_epsilon=1e-6, pad_token_id=0):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.d_kv = d_kv
        self.d_ff = d_ff
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.relative_attention_num_buckets = relative_attention_num_buckets
        self.dropout_rate = dropout_rate
        self.layer_norm_epsilon = layer_norm_epsilon
        self.pad_token_id = pad_token_id


class T5LayerNorm(nn.Module):
    def __init__(self, hidden_size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(hidden_size)), eps

    def forward(self, x):
        variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + self.eps))


class T5Attention(nn.Module):
    def __init__(self, config, has_bias=False):
        super().__init__()
        self.n_heads, self.d_kv = config.num_heads, config.d_kv
        inner = self.n_heads * self.d_kv
        self.q, self.k, self.v = (nn.Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.o, self.p = nn.Linear(inner, config.d_model, bias=False), config.dropout_rate
        self.buckets = config.relative_attention_num_buckets
        if has_bias:
            self.relative_attention_bias = nn.Embedding(self.buckets, self.n_heads)

    def compute_bias(self, q_len, k_len, device):
        distance = (torch.arange(k_len, device=device)[None] - torch.arange(q_len, device=device)[:, None]).abs()
        return self.relative_attention_bias(distance.clamp(max=self.buckets - 1)).permute(2, 0, 1).unsqueeze(0)

    def forward(self, x, kv=None, bias=None):
        b, n, _ = x.shape
        kv = x if kv is None else kv
        q, k, v = (w(t).view(b, -1, self.n_heads, self.d_kv).transpose(1, 2) for w, t in ((self.q, x), (self.k, kv), (self.v, kv)))
        scores = torch.matmul(q, k.transpose(3, 2))
        if bias is not None:
            scores = scores + bias
        weights = F.dropout(F.softmax(scores.float(), dim=-1).type_as(scores), p=self.p, training=self.training)
        return self.o(torch.matmul(weights, v).transpose(1, 2).contiguous().view(b, n, -1))


class T5Block(nn.Module):
    def __init__(self, config, is_decoder):
        super().__init__()
        norm = lambda: T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.n1, self.n2, self.self_attn = norm(), norm(), T5Attention(config)
        self.cross, self.n3 = (T5Attention(config), norm()) if is_decoder else (None, None)
        self.wi, self.wo = nn.Linear(config.d_model, config.d_ff, bias=False), nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x, bias, memory=None):
        x = x + self.dropout(self.self_attn(self.n1(x), bias=bias))
        if self.cross is not None:
            x = x + self.dropout(self.cross(self.n3(x), kv=memory))
        return x + self.dropout(self.wo(self.dropout(F.relu(self.wi(self.n2(x))))))


class T5Stack(nn.Module):
    def __init__(self, config, is_decoder):
        super().__init__()
        self.position = T5Attention(config, has_bias=True)
        self.block = nn.ModuleList([T5Block(config, is_decoder) for _ in range(config.num_layers)])
        self.final_layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.is_decoder = is_decoder

    def forward(self, x, memory=None):
        n = x.shape[1]
        bias = self.position.compute_bias(n, n, x.device)
        if self.is_decoder:
            bias = bias + torch.full((n, n), float("-inf"), device=x.device).triu(1)
        for block in self.block:
            x = block(x, bias, memory)
        return self.final_layer_norm(x)


class T5ForConditionalGeneration(nn.Module):
    def __init__(self, config: T5Config):
        super().__init__()
        self.config, self.model_dim = config, config.d_model
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder, self.decoder = T5Stack(config, False), T5Stack(config, True)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)

    def _shift_right(self, input_ids):
        shifted = input_ids.new_zeros(input_ids.shape)
        shifted[..., 1:] = input_ids[..., :-1].clone()
        shifted[..., 0] = self.config.pad_token_id
        return shifted

    def forward(self, input_ids=None, attention_mask=None, decoder_input_ids=None, labels=None):
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = self._shift_right(labels)
        memory = self.encoder(self.shared(input_ids))
        out = self.decoder(self.shared(decoder_input_ids), memory) * self.model_dim**-0.5
        logits = self.lm_head(out)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1), ignore_index=-100)
        return loss, logits
