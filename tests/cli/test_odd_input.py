"""Whatever is in an option, a file or a name: one clear error and exit code 2, at once, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from graphmem.cli import main
from graphmem.cli.run import _not_installed
from support.slow import first_of

MODEL = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.a = nn.Linear(h, h)
    def forward(self, x):
        {body}
def model(h=16): return Net(h)
def inputs(b=2, s=8, h=16): return (torch.randn(b, s, h),)
"""
PLAIN = "import torch\nfrom torch import nn\nclass Net(nn.Linear):\n    def __init__(self): super().__init__(16, 16)\n"
MANY, THOUSANDS = "9" * 400, "9" * 5000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL.format(body="return self.a(x).exp()"))
    (tmp_path / "plain.py").write_text(PLAIN)
    return tmp_path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    try:
        exit_code: object = main(arguments)
    except SystemExit as stop:  # argparse
        exit_code = stop.code
    out, err = capsys.readouterr()
    assert exit_code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert "internal error" not in err
    assert len(err) < 3000
    return err


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "model.py", "--assume", "model.py:\u00b2=1"],
        ["analyze", "model.py", "--assume", f"model.py:{THOUSANDS}=1"],
        ["analyze", "model.py", "--gpu", f"sm_86:{MANY}GiB"],
        ["analyze", "model.py", "--gpu", f"sm_{THOUSANDS}:8GiB"],
        ["analyze", "model.py", "--gpu", "sm_\u00b2\u00b2:8GiB"],
        ["analyze", "model.py", "--torch", f"2.{THOUSANDS}"],
        ["analyze", "model.py", "--torch", "2.\u00b2"],
        ["analyze", "model.py", "--cudnn", f"9.{THOUSANDS}"],
        pytest.param(["fit", "model.py", "--solve", "s", "--memory", f"{MANY}GiB"], marks=pytest.mark.slow),
        pytest.param(["fit", "model.py", "--solve", "s", "--reserve", MANY], marks=pytest.mark.slow),
        ["lint", "model.py", "--budget", f"{MANY}GiB"],
        ["lint", "model.py", "--threshold", f"{MANY}%"],
        ["lint", "model.py", "--threshold", f"{MANY}MiB"],
        ["lint", "model.py", "--at", f"s={THOUSANDS}"],
        ["lint", "model.py", "--at", "s=\u00b2"],
        ["validate", "model.py", "--device", "cpu", "--sweep", f"s={THOUSANDS}"],
        ["validate", "model.py", "--device", "cpu", "--sweep", "s=\u00b2"],
        ["analyze", "model.py", "--set", f"s={THOUSANDS}"],
        ["analyze", "model.py", "--set", f"s={MANY}"],
        ["analyze", "model.py", "--set", "s=99999999999999999999"],
        ["analyze", "model.py", "--gpu=--"],
        ["analyze", "model.py", "--dtype=--"],
        ["analyze", "model.py", "--format=--"],
        ["analyze", "model.py", "--assume=--"],
        ["analyze", "x" * 5000 + ".py"],
        ["analyze", "x" * 5000 + ".json"],
        ["analyze", "x" * 5000],
        pytest.param(["analyze", "model.py", "-o", "x" * 5000], marks=pytest.mark.slow),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_numbers_and_names_of_any_length(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    refused(arguments, capsys)


@pytest.mark.parametrize(
    "spec",
    [
        "input=float[s//0,16]",
        "input=float[s/(s-s),16]",
        "input=float[2**63,16]",
        "input=float[2**62,16]",
        "input=float[9**9**9,16]",
        "input=float[s**s**s**s**s,16]",
        "input=float[2**-1,16]",
        "input=float[s-2000,16]",
        "input=float[\u00b2,16]",
        "input=float[True,16]",
        f"input=float[{THOUSANDS},16]",
        f"input=float[{'1+' * 5000}1,16]",
        f"input=float[{'-' * 5000}1,16]",
        f"input=float[{'(' * 5000}1{')' * 5000},16]",
        f"input={'(' * 5000}",
        f"input={'[' * 5000}{']' * 5000}",
        "input={[]: 1}",
        "in\x1bput=float[b\n,16",
    ],
    ids=lambda spec: spec[:30],
)
def test_sizes_of_inputs(folder: Path, capsys: pytest.CaptureFixture[str], spec: str) -> None:
    assert "\x1b" not in refused(["analyze", "plain.py", "--input", spec], capsys)


@pytest.mark.parametrize("file", ["deep.json", "big.json", "inf.json", "fifo.json", "bytes.json"])
@pytest.mark.parametrize("command", ["diff {0} {0}", "analyze {0}", "lint model.py --baseline {0}"])
def test_saved_files(folder: Path, capsys: pytest.CaptureFixture[str], file: str, command: str) -> None:
    content = {
        "deep.json": "[" * 100_000 + "]" * 100_000,
        "big.json": f'{{"graphmem": 1, "x": {THOUSANDS}}}',
        "inf.json": '{"format": 1, "graphmem": 1, "findings": [{"fingerprint": "x", "bytes": 1e400}]}',
        "bytes.json": '{"format": 1, "graphmem": 1, "findings": [{"fingerprint": ["x"], "bytes": 1}]}',
    }
    if file == "fifo.json":
        os.mkfifo(file)
        writer = threading.Thread(target=Path(file).write_text, args=("{}",), daemon=True)
        writer.start()
    else:
        Path(file).write_text(content[file])
    assert file in refused(command.format(file).split(), capsys) or file in ("inf.json", "bytes.json")
    if file == "fifo.json":  # a thread that waited for a reader would be beside the analyses of all further tests
        reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        writer.join()
        os.close(reader)


RAISES = {
    "file": "{}  # <-\n" + MODEL.format(body="return self.a(x)"),
    "forward": MODEL.format(body="{}  # <-"),
    "model": MODEL.format(body="return self.a(x)").replace("return Net(h)", "{}  # <-"),
    "inputs": MODEL.format(body="return self.a(x)").replace("return (torch.randn(b, s, h),)", "{}  # <-"),
}


@pytest.mark.parametrize("where", RAISES)
@pytest.mark.parametrize(
    "raises",
    first_of(
        [
            "import _pytest.outcomes as o; raise o.Skipped('no gpu', allow_module_level=True)",
            "import asyncio; raise asyncio.CancelledError",
            "raise GeneratorExit",
            "raise BaseException('x')",
            "raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()",
            "raise Exception('a\\x1b[31m\\n::error::b')",
        ]
    ),
)
def test_anything_that_is_raised_is_an_error_of_that_line(
    folder: Path, capsys: pytest.CaptureFixture[str], where: str, raises: str
) -> None:
    source = RAISES[where].replace("{}", raises)
    Path("model.py").write_text(source)
    line = next(i for i, text in enumerate(source.splitlines(), 1) if "# <-" in text)
    err = refused(["lint", "model.py"], capsys)
    assert f"model.py:{line} " in err
    assert "\x1b" not in err


@pytest.mark.parametrize("where", RAISES)
def test_an_interrupt_says_where(folder: Path, capsys: pytest.CaptureFixture[str], where: str) -> None:
    Path("model.py").write_text(RAISES[where].replace("{}", "raise KeyboardInterrupt"))
    line = next(i for i, text in enumerate(Path("model.py").read_text().splitlines(), 1) if "# <-" in text)
    assert f"model.py:{line} " in refused(["analyze", "model.py"], capsys)


def test_names_of_the_model_are_shown_and_not_obeyed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "a\\x1b[31m\\n::error file=model.py::b"
    setup = f"self.add_module('{bad}', nn.Linear(h, h)); type(self).__name__ = 'N\\x1b\\n::error::c'"
    source = MODEL.format(body="return next(iter(self.children()))(self._modules[sorted(self._modules)[1]](x).exp())")
    Path("model.py").write_text(source.replace("self.a = nn.Linear(h, h)", f"self.a = nn.Linear(h, h); {setup}"))
    for arguments in (["analyze"], ["analyze", "--format", "markdown"], ["lint", "--select", "GM", "--threshold", "0"]):
        main([arguments[0], "model.py", *arguments[1:]])
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert not any(line.lstrip().startswith("::") for line in (out + err).splitlines())


@pytest.mark.slow
def test_a_path_that_is_not_utf8(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        Path("m\udcff.py").write_text(Path("model.py").read_text())
    except (OSError, UnicodeError):
        pytest.skip("this file system takes names in UTF-8 only")
    assert main(["analyze", "m\udcff.py", "--format", "json", "-o", "out.json"]) == 0
    assert json.loads(Path("out.json").read_text())["name"] == "m\udcff.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "raises", "says"),
    [
        ("torch", "ModuleNotFoundError(\"No module named 'torch'\", name='torch')", "torch is not installed here"),
        ("torch", "OSError('libcudart.so.12: cannot open shared object file')", "torch cannot be imported: libcudart"),
        ("torch", "ImportError('undefined symbol: x')", "torch cannot be imported: undefined symbol"),
        ("sympy", "ModuleNotFoundError(\"No module named 'sympy'\", name='sympy')", "sympy is not installed here"),
    ],
)
def test_without_a_package_that_it_needs(folder: Path, package: str, raises: str, says: str) -> None:
    Path(package).mkdir()
    Path(package, "__init__.py").write_text(f"raise {raises}\n")
    root = str(Path(sys.modules["graphmem"].__file__ or "").parent.parent)
    for command in ("analyze model.py", "lint model.py"):
        words = [sys.executable, "-m", "graphmem", *command.split()]
        run = subprocess.run(words, capture_output=True, text=True, env={"PYTHONPATH": f"{folder}:{root}"}, check=False)
        assert run.returncode == 2
        assert says in run.stderr
        assert "pip install" in run.stderr
        assert "Traceback" not in run.stderr


def test_an_error_of_files_is_not_torchs() -> None:
    assert _not_installed(OSError("no such file")) is None
    assert _not_installed(ImportError("no module named x")) is None


def test_a_working_directory_that_is_gone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    for command in (["analyze", "model.py"], ["lint", "package.module"], ["diff", "a.json", "b.json"]):
        assert "the working directory was removed" in refused(command, capsys)
    assert main(["rule", "GM101"]) == 0
