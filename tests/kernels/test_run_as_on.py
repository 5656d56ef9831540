"""Functions of torch that run as on another machine, inside the block alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch.nn.functional as F

from graphmem.kernels import run_as_on
from graphmem.kernels.run_as_on import RunAsOn
from graphmem.machine import resolve
from graphmem.record import Trace


def test_what_raises_on_the_way_in_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, say: nobody calls __exit__ then."""
    mode = RunAsOn(resolve(gpu="h100", device="cuda"), Trace(point={}, device="cuda"))
    replaced: list[str] = []

    def patched(owner: Any, name: str, replacement: Callable[..., Any]) -> AbstractContextManager[None]:
        if replaced:
            raise KeyboardInterrupt
        replaced.append(name)
        return original(owner, name, replacement)

    original = run_as_on.patched
    before = dict(vars(F))
    monkeypatch.setattr(run_as_on, "patched", patched)
    with pytest.raises(KeyboardInterrupt):
        mode.__enter__()
    assert len(replaced) == 1
    assert dict(vars(F)) == before
