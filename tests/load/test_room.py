"""A buffer as large as the longest input goes with its own size, and s moves it only where it has to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import SymbolError
from graphmem.load.files import _run_file
from graphmem.points import Room
from graphmem.usercode.isolate import isolated
from support.oracle import real_saved
from support.reports import predicted
from support.slow import first_of

FILE = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, h, n, a):
        super().__init__()
        self.a, self.qkv = a, nn.Linear(h, 3 * h)
        {buffer}

    def forward(self, x):
        q, k, v = (t.unflatten(2, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=2))
        s = x.shape[1]
        scores = q @ k.transpose(2, 3)
        {use}
        return x + (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class Model(nn.Module):
    def __init__(self, vocab_size=50, {limit}=24, n_embd=16, n_layer=3, n_head=2):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.h = nn.ModuleList(Block(n_embd, {limit}, n_head) for _ in range(n_layer))

    def forward(self, idx):
        x = self.wte(idx)
        for layer in self.h:
            x = layer(x)
        return x
"""
MASK = 'self.register_buffer("seen", torch.tril(torch.ones(n, n))[None, None])'
KINDS = {
    "multiplied mask": (MASK, "seen = self.seen[:, :, :s, :s]; scores = scores * seen - 1e4 * (1 - seen)"),
    "mask made boolean": (MASK, "scores = scores.masked_fill(~self.seen.bool()[:, :, :s, :s], -1e4)"),
    "positions": (
        'self.register_buffer("cos", torch.randn(n, h // a))',
        "q = q * self.cos[:s]; scores = q @ (k * self.cos[:s]).transpose(2, 3)",
    ),
    "positions made anew": (
        'self.register_buffer("angles", torch.randn(n, h // a))',
        "scores = q @ (k * self.angles.cos()[:s]).transpose(2, 3)",
    ),
}


def file_of(kind: str, limit: str, folder: Path) -> Path:
    buffer, use = KINDS[kind]
    path = folder / "model.py"
    path.write_text(FILE.format(buffer=buffer, use=use, limit=limit))
    return path


def really_kept(path: Path, b: int, s: int, **sizes: int) -> tuple[dict[int, int], int]:
    """What autograd keeps on the CPU; and the bytes of buffers among it."""
    model = vars(_run_file(path))["Model"](**sizes)
    ids = torch.zeros(b, s, dtype=torch.int64)
    buffers = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in model.buffers()}
    saved = set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.add(tensor.untyped_storage()._cdata)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(ids)
    return dict(real_saved(model, (ids,))), sum(size for storage, size in buffers.items() if storage in saved)


def buffers_of(report: graphmem.Report) -> int:
    return next((row.bytes or 0 for row in report.not_counted if row.what == "saved buffer"), 0)


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["n_ctx", "block_size", "max_len"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_buffer_as_long_as_the_longest_input(kind: str, limit: str, tmp_path: Path) -> None:
    """The limit is what it is at inputs below it; longer ones raise it, since the model needs that."""
    path = file_of(kind, limit, tmp_path)
    settings = {} if kind == "multiplied mask" else {"s": 9}
    report = graphmem.analyze(str(path), symbols=settings, device="cpu")
    assert report.verified.exact
    assert {"L", "s"} <= report.symbols.keys()
    assert not any("alike" in note for note in report.notes)
    with isolated():
        for moved in ({"s": 24}, {"s": 7, "b": 3}, {"s": 20, "L": 5}, {limit: 64}, {limit: 64, "s": 40, "b": 1}):
            there = report.at(**moved)
            sizes = {"n_layer": moved.get("L", 3), limit: moved.get(limit, 24)}
            real = really_kept(path, moved.get("b", 2), there.symbols["s"], **sizes)
            assert (dict(predicted(there)), buffers_of(there)) == real, moved


@pytest.mark.slow
def test_longer_inputs_than_the_model_takes(tmp_path: Path) -> None:
    report = graphmem.analyze(str(file_of("multiplied mask", "n_ctx", tmp_path)), device="cpu")
    there = report.at(s=30)
    assert there.symbols["n_ctx"] == 30
    with isolated():
        real = really_kept(tmp_path / "model.py", 2, 30, n_ctx=30)
    assert (dict(predicted(there)), buffers_of(there)) == real
    with pytest.raises(SymbolError, match="longer there than n_ctx=28 allows"):
        report.at(s=30, n_ctx=28)


class Scaled(nn.Module):
    """registered: its table is a buffer; otherwise a plain attribute."""

    def __init__(self, h: int, *, registered: bool) -> None:
        super().__init__()
        self.o, self.table = nn.Linear(h, h), None
        if registered:
            del self.table
            self.register_buffer("table", torch.ones(h))
        else:
            self.table = torch.ones(h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(x) * self.table


@pytest.mark.parametrize("registered", first_of([True, False]))
def test_every_layer_has_a_table_of_its_own(*, registered: bool) -> None:
    """Layers with one each are alike."""

    def model(h=16, L=3):
        return nn.Sequential(*[Scaled(h, registered=registered) for _ in range(L)])

    def inputs(b=2, h=16):
        return (torch.randn(b, h),)

    report = graphmem.analyze(model, inputs, device="cpu")
    for layers in (3, 6):
        assert buffers_of(report.at(L=layers)) == layers * 16 * 4


def test_room() -> None:
    """A limit that is not reached stays; one that is exceeded is as far above as at the working point."""
    room = Room(limits={"n": ("s", "t")}, working={"n": 32, "s": 24})
    assert room.at({"n": 32, "s": 32}) == {"n": 32, "s": 32}
    assert room.at({"n": 32, "s": 33}) == {"n": 41, "s": 33}
    assert room.at({"n": 32, "s": 3, "t": 40}) == {"n": 48, "s": 3, "t": 40}
    assert room.above({"n": 32, "s": 24}, lambda length: 10 * length)["n"] == 256
    assert Room().at({"s": 3}) == {"s": 3}


@pytest.mark.slow
def test_a_limit_of_which_nothing_is_kept_is_not_in_the_formula(tmp_path: Path) -> None:
    """A table of learned positions is a parameter."""
    path = tmp_path / "model.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "class Model(nn.Module):\n"
        "    def __init__(self, vocab_size=50, block_size=24, n_embd=16):\n"
        "        super().__init__()\n"
        "        self.e, self.p = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)\n\n"
        "    def forward(self, idx):\n"
        "        return (self.e(idx) + self.p(torch.arange(idx.shape[1], device=idx.device))).sigmoid()\n"
    )
    report = graphmem.analyze(str(path), device="cpu")
    assert report.verified.exact
    assert set(report.symbols) == {"b", "s", "h"}

    def parameters(of: graphmem.Report) -> Any:
        return next(row.bytes for row in of.not_counted if row.what == "parameters")

    rows = [nn.Embedding(n, 16).weight.numel() * 4 for n in (24, 40)]
    assert parameters(report.at(s=40)) - parameters(report) == rows[1] - rows[0]
