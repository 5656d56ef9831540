"""What the examples in the rules' files are made of. Each becomes a test (tests/linter/test_rules.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

B, S, H, HEADS = 2, 64, 64, 4

Attend = Callable[..., Tensor]


def hidden() -> tuple[Tensor, ...]:
    """(b, s, h) in bf16 on the meta device."""
    return (torch.empty(B, S, H, dtype=torch.bfloat16, device="meta"),)


def ids() -> dict[str, Tensor]:
    """Token ids, and the same as labels."""
    made = torch.zeros(B, S, dtype=torch.long, device="meta")
    return {"ids": made, "labels": made.clone()}


@dataclass(frozen=True)
class Example:
    """A model, what it is given, options of `graphmem.analyze`, and of lint: budget, points."""

    module: Callable[[], nn.Module]
    inputs: Callable[[], Any] = hidden
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: torch.dtype | None = torch.bfloat16
    lint: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The module on the meta device, in train mode."""
        with torch.device("meta"):
            return self.module().to(self.dtype) if self.dtype else self.module()


Examples = Mapping[str, Example]


class Attention(nn.Module):
    """q, k, v of (b, heads, s, head size) from three projections, `attend`, and the projection of its result."""

    def __init__(self, attend: Attend, heads: int = HEADS, keys: int | None = None, h: int = H) -> None:
        super().__init__()
        self.attend, self.heads, self.keys, self.size = attend, heads, keys or heads, h // heads
        self.q, self.k = nn.Linear(H, h), nn.Linear(H, self.keys * self.size)
        self.v, self.out = nn.Linear(H, self.keys * self.size), nn.Linear(h, H)

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        q, k, v = (
            linear(x).unflatten(-1, (n, self.size)).transpose(1, 2)
            for linear, n in ((self.q, self.heads), (self.k, self.keys), (self.v, self.keys))
        )
        return self.out(self.attend(q, k, v, *more).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Layers(nn.Module):
    """x + layer(x), twice."""

    def __init__(
        self, make: Callable[[], nn.Module], prepare: Callable[[Tensor], tuple[Any, ...]] | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(make() for _ in range(2))
        self.prepare = prepare or (lambda _x: ())
        self.first = nn.Linear(H, H)

    def forward(self, x: Tensor) -> Tensor:
        x, more = self.first(x), self.prepare(x)
        for layer in self.layers:
            x = x + layer(x, *more)
        return x


def attending(attend: Attend, **options: Any) -> Example:
    """Two layers of attention."""
    return Example(lambda: Layers(lambda: Attention(attend, **options)))
