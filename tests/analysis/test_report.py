"""A report is data: it pickles, compares and hashes, and only what needs the model says that it needs it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import UsageError


def model(h: int = 16, L: int = 6) -> nn.Module:
    return nn.Sequential(*(nn.Sequential(nn.Linear(h, h), nn.GELU()) for _ in range(L)))


def inputs(b: int = 2, s: int = 8, h: int = 16) -> tuple[torch.Tensor]:
    return (torch.zeros(b, s, h),)


@pytest.fixture(scope="module")
def report() -> graphmem.Report:
    return graphmem.analyze(model, inputs)


def test_two_analyses_of_one_model_are_equal(report: graphmem.Report) -> None:
    again = graphmem.analyze(model, inputs)
    assert again == report
    assert hash(again) == hash(report)
    assert len({again, report}) == 1


@pytest.mark.parametrize("other", [{"b": 4}, {"L": 3}])
def test_another_point_is_another_report(report: graphmem.Report, other: dict[str, int]) -> None:
    there = report.at(**other)
    assert there != report
    assert hash(there) != hash(report)
    assert there.at(**{name: report.symbols[name] for name in other}) == report


def test_a_pickled_report_is_the_same_data(report: graphmem.Report) -> None:
    loaded = pickle.loads(pickle.dumps(report))
    assert loaded == report
    assert hash(loaded) == hash(report)
    assert str(loaded) == str(report)
    assert loaded.to_json() == report.to_json()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_has_the_model_too(
    report: graphmem.Report, copied: Callable[[graphmem.Report], graphmem.Report]
) -> None:
    again = copied(report)
    assert again == report
    assert again.at(b=4) == report.at(b=4)
    assert again.analysis is report.analysis


@pytest.mark.parametrize(
    "use",
    [
        lambda report: report.at(b=3),
        lambda report: report.solve("b", budget="1GiB"),
        lambda report: report.graph,
        lambda report: report.analysis,
    ],
    ids=["at", "solve", "graph", "analysis"],
)
def test_what_needs_the_model_says_so_without_it(report: graphmem.Report, use: object) -> None:
    loaded = pickle.loads(pickle.dumps(report))
    with pytest.raises(UsageError) as error:
        use(loaded)  # type: ignore[operator]
    assert "its model is not there any more" in str(error.value)
    assert "fix  analyse it again" in str(error.value)


def test_str_is_the_table_and_repr_a_line(report: graphmem.Report) -> None:
    assert "saved for backward" in str(report)
    assert str(report).count("\n") > 10
    assert repr(report).startswith("<Report of ")
    assert "\n" not in repr(report)
    assert "b=2 s=8" in repr(report)
    assert repr(report).endswith("= L(8sbh) - 4sbh>")


def test_repr_without_a_point() -> None:
    line = repr(graphmem.analyze(nn.Sigmoid(), torch.tensor(1.0, requires_grad=True)))
    assert line == "<Report of Sigmoid: 4 B saved for backward = 4>"
