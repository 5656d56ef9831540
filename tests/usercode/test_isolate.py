"""The process is as it was when an analysis ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from graphmem.usercode.isolate import isolated


def test_what_cannot_be_put_back_does_not_stop_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is gone when the analysis begins."""
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    notes: list[str] = []
    with isolated(notes):
        os.chdir(tmp_path)
        torch.set_default_dtype(torch.float64)
        monkeypatch.setenv("LEFT", "1")
    assert torch.get_default_dtype() is torch.float32
    assert "LEFT" not in os.environ
    assert notes[0] == f"the working directory was changed to {tmp_path} by the model's code; it cannot be put back"
