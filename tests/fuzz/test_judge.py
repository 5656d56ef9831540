"""The judge sees what is wrong: an analysis that breaks each promise once."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Never

import pytest
import torch

import graphmem.cli
from fuzz.case import MODEL, REFUSED, Case
from fuzz.judge import interrupted, judge


@pytest.fixture(autouse=True)
def put_back(prepared: None) -> Iterator[None]:
    """What the analyses below leave behind."""
    threads, dtype, path, environment = (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        list(sys.path),
        dict(os.environ),
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGUSR1)}
    signal.signal(signal.SIGALRM, interrupted)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environment)
    sys.modules.pop("left_behind", None)


def verdict(monkeypatch: pytest.MonkeyPatch, analysis: Callable[[], int], **options: object) -> list[str]:
    monkeypatch.setattr(graphmem.cli, "main", lambda _arguments: analysis())
    given = {"kind": "x", "seed": 0, "files": {"model.py": MODEL}, "arguments": ("analyze", "model.py"), **options}
    return judge(Case(**given))


def said(text: str, code: int, stream: str = "stdout") -> Callable[[], int]:
    def analysis() -> int:
        print(text, file=getattr(sys, stream))
        return code

    return analysis


def after(change: Callable[[], object]) -> Callable[[], int]:
    def analysis() -> int:
        change()
        print("a report")
        return 0

    return analysis


def fails() -> Never:
    raise AttributeError("x")


CHANGES = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "sys.path": lambda: sys.path.append("/x"),
    "environment": lambda: os.environ.update(X_LEFT="1"),
    "signal handlers": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "random numbers": random.random,
    "threads of torch": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "modules of users": lambda: sys.modules.update(left_behind=type(sys)("left_behind")),
    "threads": lambda: threading.Timer(0.3, int).start(),
    "'new.txt' was made": lambda: Path("new.txt").write_text("x"),
    "'model.py' was changed": lambda: Path("model.py").write_text("x"),
    "'../beside.txt' was made": lambda: Path("../beside.txt").write_text("x"),
    "code ran": lambda: Path("RAN").write_text(""),
}


def test_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(monkeypatch, said("a report", 0)) == []
    assert verdict(monkeypatch, said("graphmem: error: no", 2, "stderr"), codes=REFUSED) == []


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_left(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    found = verdict(monkeypatch, after(CHANGES[what]))
    assert any(what in one for one in found), found


@pytest.mark.parametrize(
    ("analysis", "options", "wrong"),
    [
        (fails, {}, "AttributeError"),
        (said("a report", 0), {"codes": REFUSED}, "exit code 0"),
        (said("a report", 2), {}, "without a word"),
        (said("", 0), {}, None),
        (said("x\x1b[31m", 0), {}, "a control character on stdout"),
        (said("graphmem: error: \x9b", 2, "stderr"), {}, "a control character on stderr"),
        (said("graphmem: error: x\n::error::y", 2, "stderr"), {}, "GitHub"),
        (said("Traceback (most recent call last):", 2, "stderr"), {}, "stderr says"),
        (said("internal error", 2, "stderr"), {}, "stderr says"),
    ],
)
def test_what_comes_out(monkeypatch: pytest.MonkeyPatch, analysis, options, wrong) -> None:
    found = verdict(monkeypatch, analysis, **options)
    assert wrong is None or any(wrong in one for one in found), found


def test_a_file_of_a_failed_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def analysis() -> int:
        Path("out.txt").write_text("half")
        print("graphmem: error: no", file=sys.stderr)
        return 2

    found = verdict(monkeypatch, analysis, outputs=frozenset({"out.txt"}))
    assert found == ["'out.txt' was written, and the exit code is 2"]


def test_a_module_that_holds_a_fake_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    text = MODEL + "\ndef build():\n    return model(), inputs()\n"
    mode = FakeTensorMode()
    monkeypatch.setattr(
        graphmem, "analyze", lambda module, inputs: vars(module).update(kept=[mode.from_tensor(inputs[0])])
    )
    case = Case(kind="x", seed=0, files={"model.py": text}, arguments=("model.py",), library=True)
    assert any("a fake tensor" in one for one in judge(case))


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits() -> Never:
        while True:
            pass

    assert "KeyboardInterrupt" in verdict(monkeypatch, waits, interrupt=0.05)[0]
