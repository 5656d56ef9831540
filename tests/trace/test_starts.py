"""A loss that the model keeps for itself is what backward starts from, for a file, a module and a real run alike."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import graphmem
from graphmem.load.files import _run_file
from support.oracle import real_saved
from support.reports import predicted
from support.slow import first_of

FILE = """
from types import SimpleNamespace
import torch
from torch import nn
from torch.nn import functional as F

class Model(nn.Module):
    def __init__(self, vocab_size=50, dim=16):
        super().__init__()
        self.emb, self.out = nn.Embedding(vocab_size, dim), nn.Linear(dim, vocab_size)
        self.last_loss, self.kept = None, {{}}

    def forward(self, tokens, targets=None):
        h = self.emb(tokens)
        if targets is None:
            return self.out(h[:, [-1]])
        logits = self.out(h)
        {body}
"""
LOSS = "F.cross_entropy(logits.flatten(0, 1), targets.flatten())"
KEPT = {
    "attribute": (f"self.last_loss = {LOSS}; return logits", lambda model, _: model.last_loss),
    "of a part": (f"self.out.loss = {LOSS}; return logits", lambda model, _: model.out.loss),
    "in a dict": (f"self.kept['ce'] = {LOSS}; return logits", lambda model, _: model.kept["ce"]),
    "nothing returned": (f"self.last_loss = {LOSS}", lambda model, _: model.last_loss),
    "namespace": (f"return SimpleNamespace(logits=logits, loss={LOSS})", lambda _, output: output.loss),
}


def file_of(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "m.py"
    path.write_text(FILE.format(body=body))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("where", KEPT)
def test_targets_are_given_where_forward_keeps_its_loss(where: str, tmp_path: Path) -> None:
    body, loss = KEPT[where]
    path = file_of(tmp_path, body)
    report = graphmem.analyze(str(path), symbols={"s": 12, "b": 2}, device="cpu")
    model, ids = vars(_run_file(path))["Model"](), torch.zeros(2, 12, dtype=torch.int64)
    assert predicted(report) == real_saved(model, (ids, ids), lambda output: loss(model, output))
    assert report.verified.exact
    assert any("targets=int64[b,s]" in note for note in report.notes)
    assert not any("returns no loss" in note for note in report.notes)


@pytest.mark.slow
def test_what_forward_returns_for_targets_is_what_it_returns_in_training(tmp_path: Path) -> None:
    """The loss of every token is no number that backward could start from, but it is the branch of training."""
    path = file_of(tmp_path, "return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction='none')")
    report = graphmem.analyze(str(path), symbols={"s": 12, "b": 2}, device="cpu")
    model, ids = vars(_run_file(path))["Model"](), torch.zeros(2, 12, dtype=torch.int64)
    assert predicted(report) == real_saved(model, (ids, ids))


@pytest.mark.slow
def test_targets_that_change_nothing_are_left_out_and_the_report_says_so(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(FILE.format(body="return logits").replace("targets is None", "False"))
    notes = graphmem.analyze(str(path), symbols={"s": 12, "b": 2}, device="cpu").notes
    assert any("targets was left out" in n and "--input 'targets=int64[b,s]' gives it" in n for n in notes)
    assert any("forward returns no loss" in note for note in notes)


class Penalised(nn.Module):
    """It keeps a penalty, which is no loss of what it returns; with `total` also a loss."""

    def __init__(self, total: bool) -> None:
        super().__init__()
        self.gate, self.out, self.total = nn.Linear(8, 4), nn.Linear(8, 8), total

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.penalty = self.gate(x).softmax(-1).square().mean()
        y = self.out(x).sigmoid().sigmoid()
        if self.total:
            self.loss = F.mse_loss(y, x) + self.penalty
        return y


@pytest.mark.parametrize("total", first_of([False, True]))
def test_a_penalty_is_not_the_loss(total: bool) -> None:
    inputs = (torch.randn(2, 6, 8),)
    report = graphmem.analyze(Penalised(total), inputs, device="cpu")
    module = Penalised(total)

    def both(output: torch.Tensor) -> torch.Tensor:
        return torch.stack([output.sum(), module.penalty, *([module.loss] if total else [])]).sum()

    really = real_saved(module, inputs, both)
    assert predicted(report) == really
    notes = [note for note in report.notes if "backward starts from" in note]
    assert len(notes) == total
    assert all("backward starts from loss, " in note for note in notes)


@pytest.mark.slow
@pytest.mark.parametrize("total", [False, True])
def test_a_real_run_starts_there_too(total: bool) -> None:
    assert graphmem.validate(Penalised(total), (torch.randn(2, 6, 8),), device="cpu").exact


def test_a_loss_that_an_earlier_forward_left_is_none_of_this_one() -> None:
    module = Penalised(total=True)
    x = torch.randn(2, 6, 8)
    module(x)
    module.total = False
    report = graphmem.analyze(module, (x,), device="cpu")
    assert not any("backward starts from" in note for note in report.notes)
    assert module.loss.grad_fn is not None  # it is as it was
    assert Counter(predicted(report)).total() > 0
