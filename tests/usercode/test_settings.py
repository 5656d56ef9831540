"""Settings: what the user's code changes is put back, and what somebody else changes meanwhile is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import graphmem
from graphmem.usercode.isolate import isolated
from support.slow import first_of

_FILE = """
import os, sys
import torch
from beside import SIZE
torch.set_default_dtype(torch.float64)
os.environ["GRAPHMEM_FILE"] = "1"
os.environ["GRAPHMEM_KEPT"] = "other"
sys.path.append("somewhere")
sys.argv = ["train.py", "--mine"]

def model(h=SIZE):
    assert torch.get_default_dtype() is torch.float64
    return torch.nn.Linear(h, h)

def inputs(b=2, h=SIZE):
    {trains}
    return (torch.empty(b, h),)
"""


@contextmanager
def another_thread() -> Iterator[Callable[[Callable[[], object]], object]]:
    """Runs what it is given, one after the other."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # alive from here on
        yield lambda work: pool.submit(work).result()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHMEM_KEPT", "1")
    monkeypatch.delenv("GRAPHMEM_FILE", raising=False)
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "beside.py").write_text("SIZE = 8\n")
    path = tmp_path / "changes.py"
    path.write_text(_FILE.format(trains=""))
    return path


@pytest.mark.parametrize("beside_another", first_of([False, True]))
def test_what_the_users_file_changes_is_put_back(file: Path, beside_another: bool) -> None:
    path, argv = list(sys.path), sys.argv
    if beside_another:
        with another_thread():
            graphmem.analyze(str(file))
    else:
        graphmem.analyze(str(file))
    assert torch.get_default_dtype() is torch.float32
    assert (os.environ.get("GRAPHMEM_FILE"), os.environ["GRAPHMEM_KEPT"]) == (None, "1")
    assert sys.path == path
    assert sys.argv is argv


def test_what_another_thread_changes_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHMEM_RUN", "0")
    monkeypatch.setattr(sys, "path", [*sys.path])
    with another_thread() as there:
        block = sdpa_kernel([SDPBackend.MATH])
        there(block.__enter__)
        with isolated():
            there(lambda: block.__exit__(None, None, None))
            there(lambda: os.environ.update(GRAPHMEM_RUN="1"))
            there(lambda: sys.path.append("theirs"))
    assert torch.backends.cuda.flash_sdp_enabled()
    assert os.environ["GRAPHMEM_RUN"] == "1"
    assert sys.path[-1] == "theirs"


@pytest.mark.slow
def test_both_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put back for the user's file leaves alone what the other thread has changed since."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = list(sys.path)
    with another_thread() as there, isolated():
        graphmem.analyze(str(file))
        there(lambda: os.environ.update(GRAPHMEM_KEPT="theirs"))
        there(lambda: sys.path.append("theirs"))
    assert os.environ["GRAPHMEM_KEPT"] == "theirs"
    assert sys.path == [*before, "theirs"]
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.slow
def test_an_environment_is_never_empty(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise AssertionError

    monkeypatch.setattr(os.environ, "clear", refused)
    graphmem.analyze(str(file))
    assert "GRAPHMEM_FILE" not in os.environ


@pytest.mark.slow
def test_an_analysis_within_another_puts_its_own_back(file: Path) -> None:
    notes: list[str] = []
    with isolated(notes):
        graphmem.analyze(str(file))
        assert torch.get_default_dtype() is torch.float32
    assert not notes
