"""Runs a case in this process, and says what is wrong with what came out."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

import graphmem.cli
from fuzz.case import Case
from fuzz.state import differences, snapshot
from graphmem.usercode.interrupts import frees

# No case needs more. Real memory is that of torch's own buffers and of the model, if it is run for real.
SECONDS, MEMORY = 60, 2**30
_SOON = 0.001  # seconds, to try again
# What moves a terminal's cursor or colors its text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COMMAND = re.compile(r"^::", re.MULTILINE)
_WORDS = ("Traceback (most recent call last)", "internal error")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call did. code: the exit code, or None for a library call."""

    code: int | None
    out: str
    err: str
    escaped: BaseException | None
    seconds: float


def judge(case: Case) -> list[str]:
    """What is wrong; nothing if all is well."""
    with tempfile.TemporaryDirectory() as place, _in(Path(place)) as folder:
        case.write(folder)
        files, memory = _tree(folder), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wrong = []
        if case.library:
            module, inputs = _built(folder / case.arguments[0])
            held = _held(module)
        before = snapshot()
        outcome = _call(case, lambda: _library(module, inputs)) if case.library else _call(case, lambda: _main(case))
        wrong += differences(before, snapshot())
        if case.library:
            wrong += [f"the module: {one}" for one in _changes(held, _held(module))]
        after = _tree(folder)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024
        wrong += [f"memory grew by {grown} bytes"] if grown > MEMORY else []
        wrong += [f"took {outcome.seconds:.0f} s"] if outcome.seconds > SECONDS else []
        wrong += _of_outcome(case, outcome)
        return [*wrong, *_of_files(case, outcome, files, after)]


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[Path]:
    before = os.getcwd()
    inner = folder / "case"
    inner.mkdir()
    (folder / ".git").mkdir()  # settings above do not count
    os.chdir(inner)
    try:
        yield inner
    finally:
        os.chdir(before)


def _tree(folder: Path) -> dict[str, str | bytes]:
    """Contents by path, of what lies beside the folder, too."""
    found: dict[str, str | bytes] = {}
    for root, folders, names in os.walk(folder.parent):
        for name in (*folders, *names):
            path = Path(root, name)
            if path.is_symlink():
                content: str | bytes = f"-> {os.readlink(path)}"
            else:
                content = path.read_bytes() if path.is_file() else "other"
            found[os.path.relpath(path, folder)] = content
    return found


def _call(case: Case, function: Any) -> Outcome:
    out, err = _stream(), _stream()
    streams = sys.stdin, sys.stdout, sys.stderr
    code, escaped = None, None
    started = time.monotonic()
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), out, err
    try:
        if case.interrupt is not None:
            signal.setitimer(signal.ITIMER_REAL, case.interrupt)
        code = function()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException as error:
        escaped = error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdin, sys.stdout, sys.stderr = streams
    return Outcome(code=code, out=_text(out), err=_text(err), escaped=escaped, seconds=time.monotonic() - started)


def interrupted(_: int, frame: FrameType | None) -> None:
    """The handler of the timer's signal: Ctrl-C where the timer found the process, once that is in graphmem.

    On the first line of `main` nothing has begun: what comes there is Python's to tell, as where an object is
    freed while graphmem's own handler does not stand.
    """
    handler = signal.getsignal(signal.SIGINT)
    begun = (
        frame is not None and frame.f_code.co_filename != __file__ and frame.f_code is not graphmem.cli.main.__code__
    )
    if not begun or (handler is signal.default_int_handler and frees(frame)):
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    if callable(handler):
        handler(signal.SIGINT, frame)


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    with contextlib.suppress(ValueError):  # closed
        return stream.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    return ""


def _main(case: Case) -> int:
    return graphmem.cli.main(list(case.arguments))


def _of_outcome(case: Case, outcome: Outcome) -> Iterator[str]:
    from graphmem.errors import GraphmemError

    allowed = (GraphmemError,) if case.library else ()
    stopped = case.interrupt is not None and isinstance(outcome.escaped, KeyboardInterrupt) and case.library
    # What a model raises itself to end the process is not graphmem's to swallow in a library call.
    own = case.library and isinstance(outcome.escaped, BaseException) and not isinstance(outcome.escaped, Exception)
    if outcome.escaped is not None and not isinstance(outcome.escaped, allowed) and not stopped and not own:
        yield "".join(traceback.format_exception(outcome.escaped))[-1500:]
    if case.library:
        return
    if outcome.escaped is None and outcome.code not in case.codes and not (case.interrupt and outcome.code == 2):
        yield f"exit code {outcome.code}, not one of {sorted(case.codes)}: {outcome.err[-300:]!r}"
    if "--traceback" not in case.arguments:
        yield from (f"stderr says {word!r}: {outcome.err[-1500:]}" for word in _WORDS if word in outcome.err)
    if outcome.code == 2 and not re.search(
        r"^graphmem: (error|interrupted)|^graphmem[ \w]*: error", outcome.err, re.MULTILINE
    ):
        yield f"exit code 2 without a word: {outcome.err[-300:]!r}"
    if outcome.code == 2 and outcome.out:
        yield f"exit code 2, and something on stdout: {outcome.out[:200]!r}"
    if outcome.code == 0 and not outcome.out and not case.outputs and case.arguments[0] != "lint":
        yield "exit code 0, and nothing on stdout"
    if (found := _CONTROL.search(outcome.out)) is not None:
        yield f"a control character on stdout: {outcome.out[max(0, found.start() - 60) : found.end() + 20]!r}"
    said = "\n".join(line for line in outcome.err.splitlines() if "print(" not in line and line != "\x1b[31m")
    if "print('" not in "".join(case.files.values()) and (found := _CONTROL.search(said)) is not None:
        yield f"a control character on stderr: {said[max(0, found.start() - 60) : found.end() + 20]!r}"
    if "github" not in case.arguments and _COMMAND.search(outcome.out + "\n" + outcome.err):
        yield "a line that GitHub takes for a command"


def _of_files(case: Case, outcome: Outcome, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    may = {os.path.normpath(path) for path in case.outputs}
    may |= {os.path.normpath(case.files[p][3:]) for p in case.outputs if case.files.get(p, "").startswith("-> ")}
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    for path in changed:
        if path not in may:
            how = "removed" if path not in after else "changed" if path in before else "made"
            yield f"{path!r} was {how}"
        elif outcome.code == 2 or outcome.escaped is not None:
            yield f"{path!r} was written, and the exit code is {outcome.code}"
    if "RAN" in after:
        yield "code ran that nobody has allowed"


# -- modules that the caller holds -------------------------------------------------------------------------------------


def _built(path: Path) -> tuple[nn.Module, Any]:
    spec = importlib.util.spec_from_file_location("fuzzed_module", path)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file)
    try:
        return file.build()  # type: ignore[no-any-return]
    except Exception:  # the odd constructor itself: any module will do
        return nn.Linear(16, 16), (torch.randn(2, 8, 16),)


def _library(module: nn.Module, inputs: Any) -> int:
    import graphmem

    str(graphmem.analyze(module, inputs))
    return 0


def _held(module: nn.Module) -> dict[str, Any]:
    """What the module and its file hold: identities of tensors with their layout and values, and containers' items."""
    found: dict[str, Any] = {}
    for path, one in module.named_modules():
        found[f"{path} training"] = one.training
        for name, value in vars(one).items():
            found[f"{path}.{name}"] = _seen(value, 4)
    file = sys.modules.get(type(module).__module__)
    functions = vars(file) if file is not None else getattr(module.forward, "__globals__", {})
    for name in ("KEPT", "TABLE"):
        found[name] = _seen(functions.get(name), 4)
    found["class"] = {
        n: _seen(v, 3) for n, v in vars(type(module)).items() if isinstance(v, (list, dict, torch.Tensor))
    }
    return found


def _seen(value: Any, deep: int) -> Any:
    if isinstance(value, FakeTensor):
        return "a fake tensor"
    if isinstance(value, torch.Tensor):
        if (
            value.layout is not torch.strided
            or value.is_quantized
            or value.is_meta
            or type(value) not in (torch.Tensor, nn.Parameter)
        ):
            return (id(value), str(value.layout))
        values = value.detach().resolve_conj().reshape(-1)[:64].tolist()
        return (id(value), tuple(value.shape), value.dtype, value.requires_grad, value.grad is None, str(values))
    if not deep or not isinstance(value, (dict, list, tuple, set)):
        return value if isinstance(value, (int, str, float, type(None))) else id(value)
    items = list(value.items()) if isinstance(value, dict) else list(value)
    return [(type(value).__name__, len(items)), *(_seen(item, deep - 1) for item in items)]


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{k}: {before.get(k)!r:.150} -> {after.get(k)!r:.150}"
        for k in {**before, **after}
        if before.get(k) != after.get(k)
    ]
