"""An RMSNorm or LayerNorm that is written out.

**Why is this bad?**
Written with float32 inside, each RMSNorm keeps its input in float32, 4sbh, and its normalised value, 2sbh in 16 bits
and 4sbh in float32; a LayerNorm its centred values as well. The fused ones keep their input as it is, and one or two
numbers per token.

**Example**

    x32 = x.float()
    x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + eps)
    return weight * x32.to(x.dtype)

**Use instead**

    return F.rms_norm(x, weight.shape, weight, eps)  # or nn.RMSNorm; Gemma's: with 1 + weight
    return F.layer_norm(x, weight.shape, weight, bias, eps)  # or nn.LayerNorm

In transformers: `from_pretrained(..., use_kernels=True)`, or Liger. The fused kernel needs a weight of the input's
type: under autocast, where they differ, torch writes it out itself, and this rule is silent. The saving is measured:
the traced model is run again with the fused kernel wherever the line runs.

**Sources**
[LoongForge#136](https://github.com/baidu-baige/LoongForge/pull/136): "an intermediate that the backward pass then has
to keep alive", [Liger#812](https://github.com/linkedin/Liger-Kernel/pull/812), `LlamaRMSNorm` in transformers.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, H, Layers
from graphmem.linter.norms import RMS, Norm, fused, norms
from graphmem.linter.remeasure import swapping
from graphmem.linter.spot import Spot

CODE, NAME, SEVERITY, DEFAULT = "GM203", "unfused-norm", "warning", True


def check(context: Context) -> Iterator[Spot]:
    """Every norm that is written out; those of one line, wherever it runs, are one mistake."""
    if context.machine.device != "cuda":  # the CPU has no fused kernel
        return
    by_line: dict[object, list[tuple[Norm, tuple[int, ...]]]] = defaultdict(list)
    for norm in norms(context.flow):
        gone = tuple(
            s for s, kept in context.kept.items() if kept.op.index in norm.ops and context.only_within(s, norm.ops)
        )
        if gone:
            by_line[norm.key].append((norm, gone))
    for key, found in by_line.items():
        modules = [context.module(norm.result.op) for norm, _ in found]
        shared = _shared([context.folded(module).split(".") for module in modules])
        change = swapping(("fused norm", key), partial(fused, key))
        for (norm, gone), module in zip(found, modules, strict=True):
            rms = norm.kind == RMS
            yield Spot(
                op=norm.result.op,
                storages=gone,
                message=f"{'an RMSNorm' if rms else 'a LayerNorm'} is written out and keeps its intermediate values",
                fix="F.rms_norm or nn.RMSNorm, which keep the input and one number per row"
                if rms
                else "F.layer_norm or nn.LayerNorm, which keep the input and two numbers per row",
                change=change,
                module=".".join(module.split(".")[:shared]),
                place=norm.place,
            )


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all paths begin with."""
    return sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))


# -- examples ----------------------------------------------------------------------------------------------------------


class _Written(nn.Module):
    def __init__(self, *, gemma: bool = False) -> None:
        super().__init__()
        self.weight, self.gemma = nn.Parameter(torch.ones(H)), gemma

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (x32 * (1.0 + self.weight.float())).to(x.dtype) if self.gemma else self.weight * x32.to(x.dtype)


class _Fused(_Written):
    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (H,), 1.0 + self.weight if self.gemma else self.weight, 1e-6)


class _Layer(nn.Module):
    """A LayerNorm as it is often written."""

    def __init__(self, *, root: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.root = nn.Parameter(torch.ones(H)), nn.Parameter(torch.zeros(H)), root

    def forward(self, x: Tensor) -> Tensor:
        if self.root:
            x32 = x.float()
            variance, mean = torch.var_mean(x32, -1, correction=0, keepdim=True)
            return self.weight * ((x32 - mean) / torch.sqrt(variance + 1e-5)).to(x.dtype) + self.bias
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).pow(2).mean(-1, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.weight + self.bias


class _FusedLayer(_Layer):
    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (H,), self.weight, self.bias)


class _Columns(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


class _Unbiased(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True) + 1e-6)


def _block(norm: nn.Module) -> nn.Module:
    return nn.Sequential(norm, nn.Linear(H, H))


BAD: Examples = {
    "as in Llama": Example(lambda: Layers(lambda: _block(_Written()))),
    "all in float32": Example(
        lambda: Layers(lambda: _block(_Written())), lambda: (torch.empty(2, 64, H, device="meta"),), dtype=None
    ),
    "as in Gemma": Example(lambda: Layers(lambda: _block(_Written(gemma=True)))),
    "LayerNorm, mean of squares": Example(lambda: Layers(lambda: _block(_Layer(root=False)))),
    "LayerNorm, variance in float32": Example(lambda: Layers(lambda: _block(_Layer(root=True)))),
}
FIXED: Examples = {
    "as in Llama": Example(lambda: Layers(lambda: _block(_Fused()))),
    "all in float32": Example(
        lambda: Layers(lambda: _block(_Fused())), lambda: (torch.empty(2, 64, H, device="meta"),), dtype=None
    ),
    "as in Gemma": Example(lambda: Layers(lambda: _block(_Fused(gemma=True)))),
    "LayerNorm, mean of squares": Example(lambda: Layers(lambda: _block(_FusedLayer(root=False)))),
    "LayerNorm, variance in float32": Example(lambda: Layers(lambda: _block(_FusedLayer(root=True)))),
}
GOOD: Examples = {
    "fused": FIXED["as in Llama"],
    "LayerNorm": Example(lambda: Layers(lambda: _block(nn.LayerNorm(H)))),
    "not over the last dimension": Example(lambda: Layers(_Columns)),
    "unbiased variance": Example(lambda: Layers(_Unbiased)),
}
