"""Small Transformers and parts of them, each with one thing that decides what autograd keeps.

MODELS: name -> (makes the module, makes its inputs). Sizes are tiny, and different dimensions have different sizes:
b = 2, s = 18, h = 48 = 3 heads of 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

B, S, S_OTHER, H, HEADS, HEAD, FF, V = 2, 18, 20, 48, 3, 16, 80, 101

Inputs = tuple[torch.Tensor, ...] | dict[str, torch.Tensor]


def hidden() -> Inputs:
    return (torch.randn(B, S, H),)


def trained_hidden() -> Inputs:
    return (torch.randn(B, S, H, requires_grad=True),)


def two_hidden() -> Inputs:
    return torch.randn(B, S, H), torch.randn(B, S_OTHER, H)


def hidden_and_float_mask() -> Inputs:
    return torch.randn(B, S, H), torch.randn(B, 1, S, S)


def hidden_and_bool_mask() -> Inputs:
    return torch.randn(B, S, H), causal()[None, None].repeat(B, 1, 1, 1)


def ids() -> Inputs:
    return (torch.randint(V, (B, S)),)


def ids_and_labels() -> Inputs:
    return {"ids": torch.randint(V, (B, S)), "labels": torch.randint(V, (B, S))}


def image() -> Inputs:
    return (torch.randn(B, 3, 20, 28),)


def causal(s: int = S, device: torch.device | None = None) -> torch.Tensor:
    return torch.ones(s, s, dtype=torch.bool, device=device).tril()


# -- attention by hand -------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Projections around `attend`, which the classes below write."""

    def __init__(self, heads: int = HEADS, kv_heads: int = HEADS, head: int = HEAD) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, head
        self.q, self.k, self.v = (nn.Linear(H, n * head) for n in (heads, kv_heads, kv_heads))
        self.out = nn.Linear(heads * head, H)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *extra: torch.Tensor) -> torch.Tensor:
        return (q @ k.transpose(-2, -1) / math.sqrt(self.head)).softmax(-1) @ v

    def project(self, x: torch.Tensor, context: torch.Tensor) -> list[torch.Tensor]:
        pairs = ((self.q, x), (self.k, context), (self.v, context))
        return [f(t).unflatten(-1, (-1, self.head)).transpose(1, 2) for f, t in pairs]

    def forward(self, x: torch.Tensor, *extra: torch.Tensor) -> torch.Tensor:
        return self.out(self.attend(*self.project(x, x), *extra).transpose(1, 2).flatten(2))


class ScaleBefore(Attention):
    def attend(self, q, k, v):
        return ((q * self.head**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v


class FloatMask(Attention):
    def attend(self, q, k, v, mask):
        return (q @ k.transpose(-2, -1) / math.sqrt(self.head) + mask).softmax(-1) @ v


class BoolMask(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", causal(32))

    def attend(self, q, k, v):
        s = q.shape[-2]
        scores = (q @ k.transpose(-2, -1)) * self.head**-0.5
        return scores.masked_fill(~self.mask[:s, :s], -math.inf).softmax(-1) @ v


class InPlaceMask(Attention):
    def attend(self, q, k, v):
        scores = (q @ k.transpose(-2, -1)).div_(math.sqrt(self.head))
        scores.masked_fill_(~causal(q.shape[-2], q.device), torch.finfo(q.dtype).min)
        return scores.softmax(-1) @ v


class Baddbmm(Attention):
    def attend(self, q, k, v):
        q, k, v = (t.flatten(0, 1) for t in (q, k, v))
        empty = torch.empty(q.shape[0], q.shape[1], k.shape[1], dtype=q.dtype, device=q.device)
        scores = torch.baddbmm(empty, q, k.transpose(1, 2), beta=0.0, alpha=self.head**-0.5)
        return torch.bmm(scores.softmax(-1), v).unflatten(0, (-1, self.heads))


class Einsum(Attention):
    def attend(self, q, k, v):
        weights = torch.einsum("bhqd,bhkd->bhqk", q, k).mul(self.head**-0.5).softmax(-1)
        return torch.einsum("bhqk,bhkd->bhqd", weights, v)


class Alibi(Attention):
    def attend(self, q, k, v):
        place = torch.arange(q.shape[-2], device=q.device)
        slopes = 2.0 ** -torch.arange(1, self.heads + 1, device=q.device)
        bias = (place[None, :] - place[:, None]) * slopes[:, None, None]
        return (q @ k.transpose(-2, -1) * self.head**-0.5 + bias.to(q.dtype)).softmax(-1) @ v


class RelativeBias(Attention):
    """T5: no scale, and a bias looked up by bucketed distance."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Embedding(8, HEADS)

    def attend(self, q, k, v):
        place = torch.arange(q.shape[-2], device=q.device)
        bucket = (place[None, :] - place[:, None]).abs().clamp(max=7)
        scores = q @ k.transpose(-2, -1) + self.bias(bucket).permute(2, 0, 1)[None]
        return scores.softmax(-1) @ v


class Softcap(Attention):
    def attend(self, q, k, v):
        scores = q @ k.transpose(-2, -1) * self.head**-0.5
        return (torch.tanh(scores / 50.0) * 50.0).softmax(-1) @ v


class Float32Softmax(Attention):
    def attend(self, q, k, v):
        scores = q @ k.transpose(-2, -1) * self.head**-0.5
        return F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v


class AttentionDropout(Attention):
    def attend(self, q, k, v):
        weights = (q @ k.transpose(-2, -1) * self.head**-0.5).softmax(-1)
        return F.dropout(weights, 0.1, self.training) @ v


class RepeatedHeads(Attention):
    def __init__(self) -> None:
        super().__init__(heads=6, kv_heads=3, head=8)

    def attend(self, q, k, v):
        return super().attend(q, *(t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v)))


class EinsumHeads(Attention):
    def __init__(self) -> None:
        super().__init__(heads=12, kv_heads=3, head=8)

    def attend(self, q, k, v):
        q = q.unflatten(1, (self.kv_heads, -1))
        weights = (torch.einsum("bkgqd,bksd->bkgqs", q, k) / math.sqrt(self.head)).softmax(-1)
        return torch.einsum("bkgqs,bksd->bkgqd", weights, v).flatten(1, 2)


class CrossAttention(Attention):
    def forward(self, x, context):
        return self.out(self.attend(*self.project(x, context)).transpose(1, 2).flatten(2))


class LinearAttention(Attention):
    def attend(self, q, k, v):
        q, k = F.elu(q) + 1, F.elu(k) + 1
        weights = 1 / (q * k.sum(-2, keepdim=True)).sum(-1, keepdim=True)
        return q @ (k.transpose(-2, -1) @ v) * weights


class ClampedNormedHeads(Attention):
    """OLMo clips q, k and v; Qwen3 norms q and k by head."""

    def __init__(self) -> None:
        super().__init__()
        self.q_norm, self.k_norm = nn.LayerNorm(HEAD), nn.RMSNorm(HEAD)

    def attend(self, q, k, v):
        return super().attend(self.q_norm(q.clamp(-3, 3)), self.k_norm(k.clamp(-3, 3)), v.clamp(-3, 3))


# -- attention by torch ------------------------------------------------------------------------------------------------


class Sdpa(Attention):
    """`options` go to scaled_dot_product_attention; a mask comes as an input."""

    def __init__(self, options: dict[str, Any], **sizes: int) -> None:
        super().__init__(**sizes)
        self.options = options

    def attend(self, q, k, v, mask=None):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **self.options)


class SdpaTrainedBias(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(HEADS, 32, 32))

    def attend(self, q, k, v):
        s = q.shape[-2]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[None, :, :s, :s])


class PackedRotary(nn.Module):
    """q, k and v are views of one projection; q and k are rotated by halves."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(H, 3 * H, bias=False), nn.Linear(H, H, bias=False)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, HEAD)).permute(2, 0, 3, 1, 4)
        frequency = 10000 ** (-torch.arange(0, HEAD, 2, device=x.device) / HEAD)
        angle = torch.outer(torch.arange(x.shape[1], device=x.device), frequency).repeat(1, 2)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        q, k = (t * cos + torch.cat((-t[..., HEAD // 2 :], t[..., : HEAD // 2]), -1) * sin for t in (q, k))
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(o.transpose(1, 2).flatten(2))


class ComplexRotary(Attention):
    def attend(self, q, k, v):
        frequency = 10000 ** (-torch.arange(0, self.head, 2, device=q.device) / self.head)
        angle = torch.outer(torch.arange(q.shape[-2], device=q.device), frequency)
        turn = torch.polar(torch.ones_like(angle), angle)
        q, k = (
            torch.view_as_real(torch.view_as_complex(t.float().unflatten(-1, (-1, 2))) * turn).flatten(-2).to(v.dtype)
            for t in (q, k)
        )
        return super().attend(q, k, v)


class TorchAttention(nn.Module):
    def __init__(self, batch_first: bool, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(H, HEADS, dropout=0.1, batch_first=batch_first)
        self.need_weights = need_weights

    def forward(self, x):
        output, weights = self.attention(x, x, x, need_weights=self.need_weights)
        return output if weights is None else (output, weights)


# -- blocks ------------------------------------------------------------------------------------------------------------


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(H, FF), nn.Linear(FF, H)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(H), nn.LayerNorm(H)
        self.attention, self.mlp = Attention(), MLP()

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PostNorm(Block):
    def forward(self, x):
        x = self.norm1(x + F.dropout(self.attention(x), 0.1, self.training))
        return self.norm2(x + F.dropout(self.mlp(x), 0.1, self.training))


class ParallelBlock(Block):
    """GPT-J: attention and MLP read one norm."""

    def forward(self, x):
        y = self.norm1(x)
        return x + self.attention(y) + self.mlp(y)


class Stack(nn.Module):
    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.tokens, self.layers = nn.Embedding(V, H), nn.ModuleList(Block() for _ in range(depth))

    def forward(self, ids):
        x = self.tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return x.mean()


class HandRMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.out = nn.Parameter(torch.ones(H)), nn.Linear(H, FF)

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.out(self.weight * wide.to(x.dtype))


class SwiGLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(H, FF), nn.Linear(H, FF), nn.Linear(FF, H)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Activations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        kinds = (nn.ReLU(), nn.SiLU(), nn.GELU("tanh"), nn.Mish(), nn.ELU(), nn.LeakyReLU(), nn.Hardswish())
        more = (nn.Softplus(), nn.Sigmoid(), nn.Tanh(), nn.PReLU(), nn.ReLU6(), nn.LogSoftmax(-1), nn.GLU())
        self.layers = nn.Sequential(*(part for kind in kinds + more[:-1] for part in (nn.Linear(H, H), kind)), more[-1])

    def forward(self, x):
        return self.layers(x)


class Experts(nn.Module):
    """Every expert sees every token; those that were not chosen count with weight 0."""

    def __init__(self, experts: int = 5) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(H, experts), nn.ModuleList(MLP() for _ in range(experts))

    def forward(self, x):
        best, index = self.router(x).softmax(-1).topk(2, dim=-1)
        weights = torch.zeros(*x.shape[:-1], len(self.experts), dtype=x.dtype, device=x.device)
        weights = weights.scatter(-1, index, best / best.sum(-1, keepdim=True))
        return x + sum(weights[..., i, None] * expert(x) for i, expert in enumerate(self.experts))


class GroupedExperts(nn.Module):
    """Experts in one product, whose rows start at multiples of 16 bytes: 30 columns have gaps."""

    def __init__(self, columns: int = 30) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, columns, H))

    def forward(self, x):
        ends = torch.arange(1, 4, dtype=torch.int32, device=x.device) * (B * S // 3)
        y = torch.nn.functional.grouped_mm(x.reshape(B * S, H), self.weight.transpose(1, 2), offs=ends)
        return y.sigmoid() * y


class DropPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = MLP()

    def forward(self, x):
        keep = x.new_empty(x.shape[0], 1, 1).bernoulli_(0.8).div_(0.8)
        return x + keep * self.mlp(x)


class Image(nn.Module):
    """ViT: a convolution cuts patches, a class token goes in front."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, H, kernel_size=4, stride=4)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, H)), nn.Parameter(torch.randn(1, 36, H))
        self.block, self.norm, self.head = Block(), nn.LayerNorm(H), nn.Linear(H, 10)

    def forward(self, image):
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.places
        return self.head(self.norm(self.block(x))[:, 0])


class Convolutions(nn.Module):
    """A causal depthwise convolution over time, as in Mamba, and a pointwise one with a gate, as in Conformer."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.pointwise = nn.Conv1d(H, H, 4, padding=3, groups=H), nn.Conv1d(H, 2 * H, 1)

    def forward(self, x):
        y = F.silu(self.depthwise(x.transpose(1, 2))[..., : x.shape[1]])
        return x + F.glu(self.pointwise(y), dim=1).transpose(1, 2)


class OverChannels(nn.Module):
    """Something over channels, b × c × s, between two linear layers; `dtype` is what it gets as an input."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.up, self.inner, self.down, self.dtype = nn.Linear(H, FF), inner, nn.Linear(FF, H), dtype

    def forward(self, x):
        y = self.up(x).transpose(1, 2)
        y = self.inner(y if self.dtype is None else y.to(self.dtype).contiguous())
        return self.down(F.relu(y.to(x.dtype)).transpose(1, 2))


class RolledImage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.out = nn.Conv2d(3, H, kernel_size=4, stride=4), nn.Linear(H, FF)

    def forward(self, image):
        x = self.patches(image).to(memory_format=torch.channels_last)
        return self.out(x.roll((1, 2), dims=(2, 3)).permute(0, 2, 3, 1))


class ConvolutionNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.second, self.head = nn.Conv2d(10, 14, 3, stride=2), nn.Linear(14, 6)

    def forward(self, image):
        x = self.first(image.to(memory_format=torch.channels_last))
        x = F.max_pool2d(F.relu(self.norm(x), inplace=True), 2)
        return self.head(F.adaptive_avg_pool2d(self.second(x), 1).flatten(1))


# -- whole models ------------------------------------------------------------------------------------------------------


class TiedLanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places, self.block = nn.Embedding(V, H), nn.Embedding(64, H), Block()
        self.norm, self.head = nn.LayerNorm(H), nn.Linear(H, V, bias=False)
        self.head.weight = self.tokens.weight

    def logits(self, ids):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.norm(self.block(x)))

    def forward(self, ids, labels):
        return F.cross_entropy(self.logits(ids).flatten(0, 1), labels.flatten())


class DictWithLoss(TiedLanguageModel):
    def forward(self, ids, labels):
        logits = self.logits(ids)
        shifted = logits[:, :-1].float().flatten(0, 1)
        loss = F.cross_entropy(shifted, labels[:, 1:].flatten(), label_smoothing=0.1)
        return {"loss": loss, "logits": logits, "confidence": logits.softmax(-1)}


class MaskedPooling(nn.Module):
    """A sentence encoder: the mask comes from the ids, and two poolings are trained against each other."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.block, self.out = nn.Embedding(V, H, padding_idx=0), Block(), nn.Linear(H, FF)

    def forward(self, ids):
        keep = (ids != 0).unsqueeze(-1)
        x = self.block(self.tokens(ids))
        mean = (x * keep).sum(1) / keep.sum(1).clamp(min=1)
        most = x.masked_fill(~keep, -math.inf).amax(1)
        left, right = (F.normalize(self.out(t), dim=-1) for t in (mean, most))
        return {"loss": -F.logsigmoid(left @ right.T).diagonal().mean(), "embedding": left}


class LowRank(nn.Module):
    """LoRA: the base is frozen, so the nodes of frozen weights keep nothing for them."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Stack(2).requires_grad_(False)
        self.frozen = nn.Linear(H, FF).requires_grad_(False)
        self.down, self.up = nn.Linear(H, 4, bias=False), nn.Linear(4, FF, bias=False)

    def forward(self, ids):
        x = self.base.tokens(ids)
        for layer in self.base.layers:
            x = layer(x)
        return F.gelu(self.frozen(x) + self.up(F.dropout(self.down(x), 0.1, self.training)) * 2)


# -- what autograd does with it ----------------------------------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.blocks, self.reentrant = nn.Linear(H, H), nn.ModuleList((Block(), Block())), reentrant

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return x.tanh()


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        halved = x.relu() * 0.5
        ctx.save_for_backward(halved, weight, x > 0)
        return halved * halved * weight

    @staticmethod
    def backward(ctx, gradient):
        halved, weight, positive = ctx.saved_tensors
        return gradient * halved * weight * positive, (gradient * halved * halved).sum((0, 1))


class CustomFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.weight, self.down = nn.Linear(H, FF), nn.Parameter(torch.ones(FF)), nn.Linear(FF, H)

    def forward(self, x):
        return self.down(_Square.apply(self.up(x), self.weight))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(H, FF), nn.Linear(FF, H)

    def forward(self, x):
        y = self.up(x).relu_()
        return self.down(F.dropout(y, 0.1, self.training, inplace=True)).add_(x).mul_(2)


class UnusedBranch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = MLP(), MLP()

    def forward(self, x):
        y = self.used(x)
        self.unused(y).softmax(-1)
        return y.sigmoid().sum()


class KeptTwice(nn.Module):
    """Views of one tensor saved by several nodes; one slice keeps all of the tensor it is cut from."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.out = nn.Linear(H, FF), nn.Linear(FF // 2, H)

    def forward(self, x):
        y = self.up(x)
        left, right = y.chunk(2, dim=-1)
        gated = left * right.sigmoid()
        return self.out(gated) + y[:, -1:, :1].exp() + y.flatten(0, 1).cos().sum()


class Shifts(nn.Module):
    """Swin: windows rolled, padded and cut, with an index that is made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.weight = nn.Linear(H, H), nn.Parameter(torch.randn(7, H))

    def forward(self, x):
        y = F.pad(self.up(x).roll(3, dims=1), (0, 0, 1, 2))
        index = torch.arange(x.shape[1], device=x.device) % 7
        picked = y[:, index] * self.weight[index] + torch.where(y[:, 2:-1] > 0, y[:, 2:-1], y.mean())[:, : x.shape[1]]
        return picked.std(-1) + picked.cumsum(1).amax(-1) + torch.logsumexp(picked, -1)


def encoder(**options: Any) -> nn.Module:
    layer = nn.TransformerEncoderLayer(H, HEADS, FF, dropout=0.1, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def decoder() -> nn.Module:
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(H, HEADS, FF, dropout=0.1, batch_first=True), 2)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Inputs]]] = {
    "scale after": (Attention, hidden),
    "scale before": (ScaleBefore, hidden),
    "input requires grad": (Attention, trained_hidden),
    "float mask": (FloatMask, hidden_and_float_mask),
    "bool mask": (BoolMask, hidden),
    "mask in place": (InPlaceMask, hidden),
    "baddbmm": (Baddbmm, hidden),
    "einsum": (Einsum, hidden),
    "alibi": (Alibi, hidden),
    "relative bias": (RelativeBias, hidden),
    "softcap": (Softcap, hidden),
    "float32 softmax": (Float32Softmax, hidden),
    "attention dropout": (AttentionDropout, hidden),
    "gqa repeated": (RepeatedHeads, hidden),
    "gqa einsum": (EinsumHeads, hidden),
    "cross attention": (CrossAttention, two_hidden),
    "linear attention": (LinearAttention, hidden),
    "q and k normed": (ClampedNormedHeads, hidden),
    "sdpa": (lambda: Sdpa({}), hidden),
    "sdpa causal": (lambda: Sdpa({"is_causal": True}), hidden),
    "sdpa bool mask": (lambda: Sdpa({}), hidden_and_bool_mask),
    "sdpa float mask": (lambda: Sdpa({}), hidden_and_float_mask),
    "sdpa dropout": (lambda: Sdpa({"dropout_p": 0.1, "is_causal": True}), hidden),
    "sdpa head size 24": (lambda: Sdpa({"is_causal": True}, head=24), hidden),
    "sdpa head size 20": (lambda: Sdpa({"scale": 0.2}, head=20), hidden),
    "sdpa gqa": (lambda: Sdpa({"is_causal": True, "enable_gqa": True}, heads=6, kv_heads=3, head=8), hidden),
    "sdpa trained bias": (SdpaTrainedBias, hidden),
    "packed rotary": (PackedRotary, hidden),
    "complex rotary": (ComplexRotary, hidden),
    "torch attention": (lambda: TorchAttention(batch_first=True, need_weights=False), hidden),
    "torch attention, weights": (lambda: TorchAttention(batch_first=True, need_weights=True), hidden),
    "torch attention, s first": (lambda: TorchAttention(batch_first=False, need_weights=False), hidden),
    "torch attention, s first, weights": (lambda: TorchAttention(batch_first=False, need_weights=True), hidden),
    "torch encoder": (lambda: encoder(activation="gelu", norm_first=True), hidden),
    "torch encoder, norm last": (encoder, hidden),
    "torch decoder": (decoder, two_hidden),
    "block": (Block, hidden),
    "block, norm last": (PostNorm, hidden),
    "block, parallel": (ParallelBlock, hidden),
    "stack": (Stack, ids),
    "rms norm by hand": (HandRMSNorm, trained_hidden),
    "rms norm": (lambda: nn.Sequential(nn.Linear(H, FF), nn.RMSNorm(FF), nn.Linear(FF, H)), hidden),
    "swiglu": (SwiGLU, hidden),
    "activations": (Activations, hidden),
    "experts": (Experts, hidden),
    "experts, grouped": (GroupedExperts, hidden),
    "drop path": (DropPath, hidden),
    "image": (Image, image),
    "convolutions": (Convolutions, hidden),
    "batch norm": (lambda: OverChannels(nn.BatchNorm1d(FF)), hidden),
    "batch norm, channels last": (ConvolutionNorm, image),
    "group norm": (lambda: OverChannels(nn.GroupNorm(5, FF)), hidden),
    "instance norm": (lambda: OverChannels(nn.InstanceNorm1d(FF, affine=True)), hidden),
    # Weights stay in the model's dtype: that is how autocast calls batch norm.
    "batch norm, bfloat16 input": (lambda: OverChannels(nn.BatchNorm1d(FF), torch.bfloat16), hidden),
    "group norm, bfloat16 input": (lambda: OverChannels(nn.GroupNorm(5, FF), torch.bfloat16), hidden),
    "layer norm, bfloat16 input": (lambda: OverChannels(nn.LayerNorm((FF, S)), torch.bfloat16), hidden),
    "log sigmoid, transposed": (lambda: OverChannels(nn.LogSigmoid()), hidden),
    "roll, channels last": (RolledImage, image),
    "tied embeddings": (TiedLanguageModel, ids_and_labels),
    "dict with loss": (DictWithLoss, ids_and_labels),
    "masked pooling": (MaskedPooling, ids),
    "low rank": (LowRank, ids),
    "checkpoint, reentrant": (lambda: Checkpointed(reentrant=True), hidden),
    "checkpoint": (lambda: Checkpointed(reentrant=False), hidden),
    "custom function": (CustomFunction, hidden),
    "in place": (InPlace, hidden),
    "unused branch": (UnusedBranch, hidden),
    "kept twice": (KeptTwice, hidden),
    "shifts": (Shifts, hidden),
}

# One of each kind, for the fast tests.
FAMILIES = (
    "scale after", "bool mask", "einsum", "attention dropout", "gqa repeated", "linear attention", "sdpa causal",
    "sdpa float mask", "complex rotary", "torch attention", "torch encoder", "block", "stack", "rms norm by hand",
    "swiglu",
    "experts, grouped", "image", "batch norm", "tied embeddings", "masked pooling", "low rank", "checkpoint",
    "checkpoint, reentrant", "custom function",
)  # fmt: skip
