"""What the outputs beside the loss hold is what a real run frees when it lets go of them."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import graphmem

V, H = 32, 16


class Model(nn.Module):
    """Layers that may be checkpointed and give their keys, a head in 16 bits, a branch that the loss does not reach."""

    def __init__(self, kind: str, checkpointed: bool) -> None:
        super().__init__()
        self.kind, self.checkpointed = kind, checkpointed
        self.embedding, self.head = nn.Embedding(V, H), nn.Linear(H, V)
        self.layers = nn.ModuleList(nn.Linear(H, H) for _ in range(2))
        self.probe = nn.Linear(H, 8)

    def _layer(self, layer: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        key = layer(x)
        return x + key.tanh(), key

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> Any:
        x, keys = self.embedding(ids), []
        for layer in self.layers:
            x, key = (
                checkpoint(self._layer, layer, x, use_reentrant=False) if self.checkpointed else self._layer(layer, x)
            )
            keys.append(key)
        logits = self.head(x)
        loss = F.cross_entropy(logits.double().flatten(0, 1), labels.flatten())
        more = {"logits": logits, "keys": tuple(keys), "probe": self.probe(x).exp().sin()}
        if self.kind == "object":
            return SimpleNamespace(loss=loss, **more)
        return {"loss": loss} if self.kind == "loss alone" else {"loss": loss, **more}


def _live_bytes() -> int:
    gc.collect()
    tensors = [o for o in gc.get_objects() if isinstance(o, torch.Tensor)]
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def _really_held(model: Model, inputs: tuple[torch.Tensor, ...]) -> int:
    """What saved-tensor hooks and the collector see less of once only the loss is there."""
    packed: list[Any] = []

    class Holder:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor.detach()

    def pack(tensor: torch.Tensor) -> Holder:
        packed.append(holder := Holder(tensor))
        return holder

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda holder: holder.tensor):
        output = model(*inputs)
    packed.clear()
    loss = output["loss"] if isinstance(output, dict) else output.loss
    before = _live_bytes()
    del output
    after = _live_bytes()
    assert loss.requires_grad
    return before - after


@pytest.mark.slow
@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", ["dict", "object", "loss alone"])
def test_the_row_is_what_is_freed(kind: str, checkpointed: bool) -> None:
    model = Model(kind, checkpointed)
    inputs = (torch.randint(0, V, (2, 8)), torch.randint(0, V, (2, 8)))
    report = graphmem.analyze(model, inputs, device="cpu")
    rows = [row for row in report.not_counted if row.what == "other outputs"]
    assert sum(row.bytes or 0 for row in rows) == _really_held(model, inputs)
    assert bool(rows) == (kind != "loss alone")
    alone = graphmem.analyze(Model("loss alone", checkpointed), inputs, device="cpu")
    assert (report.saved.bytes, report.alive.bytes) == (alone.saved.bytes, alone.alive.bytes)
    for row in rows:
        assert row.why.endswith(": logits, keys, probe")
        assert row.expr is not None
        point = {s: report.symbols[s.name] for s in row.expr.free_symbols}
        assert row.expr.subs(point) == row.bytes


@pytest.mark.slow
def test_the_formula_holds_at_other_sizes() -> None:
    inputs = (torch.randint(0, V, (2, 8)), torch.randint(0, V, (2, 8)))
    report = graphmem.analyze(Model("dict", checkpointed=True), inputs, device="cpu").at(b=3, s=24)
    (row,) = (row for row in report.not_counted if row.what == "other outputs")
    there = (torch.randint(0, V, (3, 24)), torch.randint(0, V, (3, 24)))
    assert row.bytes == _really_held(Model("dict", checkpointed=True), there)
