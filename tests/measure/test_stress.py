"""Few analyses of the many that `stress.py` runs by hand; and that it sees what is wrong."""

from __future__ import annotations

import mmap
import time

import pytest
import torch

from measure import stress

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_threads() -> None:
    assert stress.in_threads(4, 8) == []


def test_growth() -> None:
    assert stress.growth(40) == []


def test_an_analysis_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    def draws(_number: int) -> str:
        time.sleep(0.005)  # so that there is training beside it
        return str(torch.rand(3).numel())

    monkeypatch.setattr(stress, "analysis", draws)
    assert any("weights" in one for one in stress.in_threads(2, 400))


def test_an_analysis_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100))
    monkeypatch.setattr(stress, "analysis", lambda number: str(next(numbers)))
    assert any("another than alone" in one for one in stress.in_threads(2, 8))


def test_memory_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[mmap.mmap] = []

    def grows(_number: int) -> None:
        kept.append(mmap.mmap(-1, 2**20))  # what was freed before is not used again for it
        kept[-1].write(b"x" * 2**20)

    monkeypatch.setattr(stress, "analysis", grows)
    assert any("more memory" in one for one in stress.growth(100))
