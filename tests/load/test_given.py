"""Arguments of the wrong kind are one error of usage, and no error of Python's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import graphmem

TARGET = """
import torch
def model(h=16): return torch.nn.Sigmoid()
def inputs(b=2, s=8, h=16): return (torch.randn(b, s, h, requires_grad=True),)
"""
WRONG: list[dict[str, Any]] = [
    {"symbols": [1]}, {"symbols": {1: 2}}, {"symbols": {"s": None}}, {"symbols": {"s": [1]}},
    {"symbols": {"s": 10**400}}, {"input": 3}, {"input": {1: 2}},
    {"config": 3}, {"task": 3}, {"trust_remote_code": "no"}, {"device": 3},
    {"dtype": []}, {"autocast": 3}, {"assume": [1]}, {"assume": {None: 1}}, {"full_depth": "no"}, {"gpu": []},
    {"torch_version": 2.13}, {"cudnn_version": 9}, {"other": 1},
]  # fmt: skip


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_options(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(TARGET)
    with pytest.raises(graphmem.GraphmemError) as error:
        graphmem.analyze(str(tmp_path / "model.py"), **options)
    assert error.value.hint


@pytest.fixture(scope="module")
def report() -> graphmem.Report:
    return graphmem.analyze(nn.Sigmoid(), (torch.randn(2, 8, 16, requires_grad=True),))


def _swept(sweep: Any) -> object:
    return graphmem.validate(nn.Sigmoid(), (torch.randn(2, 8),), device="cpu", sweep=sweep)


QUESTIONS: dict[str, Callable[[graphmem.Report], object]] = {
    "at a text": lambda r: r.at(s="8"),  # type: ignore[arg-type]
    "at a fraction": lambda r: r.at(s=1.5),  # type: ignore[arg-type]
    "at 400 digits": lambda r: r.at(s=10**400),
    "solve for a number": lambda r: r.solve(3, budget=1e9),  # type: ignore[arg-type]
    "solve within nothing": lambda r: r.solve("s", budget=None),  # type: ignore[arg-type]
    "solve within NaN": lambda r: r.solve("s", budget=float("nan")),
    "fits 400 digits": lambda _: graphmem.assert_fits(nn.Sigmoid(), (torch.randn(2),), budget=10**400),
    "sweep of numbers": lambda _: _swept({1: [8]}),
    "sweep to 30 digits": lambda _: _swept({"b": [10**30]}),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions(report: graphmem.Report, name: str) -> None:
    with pytest.raises(graphmem.GraphmemError):
        QUESTIONS[name](report)


@pytest.mark.parametrize("target", ["a\0b.py", "a\0b.json", "a\0b", "", "x" * 5000])
def test_targets_that_are_no_path(target: str) -> None:
    with pytest.raises(graphmem.GraphmemError):
        graphmem.analyze(target)
