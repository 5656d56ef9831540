"""What cannot be analysed is refused: exit code 2 and one message that says what, where and how to fix it."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphmem.cli import main
from graphmem.cli.files import write
from graphmem.errors import UsageError
from support.slow import first_of

HEAD = "import torch\nfrom torch import nn\n"
MODEL = "def model(h=16): return nn.Linear(h, h)\n"
INPUTS = "def inputs(s=8, h=16): return (torch.randn(s, h),)\n"
NET = """
class Net(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.lin = nn.Linear(h, h)
    def forward(self, x):
        {body}
def model(h=16): return Net(h)
"""
GOOD = HEAD + MODEL + INPUTS

Refuse = Callable[..., str]


def code(arguments: list[str]) -> int:
    """The exit code, also where argparse ends the process itself."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1


def marked(file: Path) -> str:
    """``file:line`` of the line marked ``# <-``."""
    lines = file.read_text().splitlines()
    return f"{file}:{next(i for i, line in enumerate(lines, 1) if '# <-' in line)} "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.py"


@pytest.fixture
def refuse(file: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Analyse a source, expect a refusal, return its message."""

    def run(source: str | bytes | None, *options: str, target: str = str(file)) -> str:
        if source is not None:
            file.write_bytes(source.encode() if isinstance(source, str) else source)
        out = file.parent / "out"
        out.mkdir()
        given = ["-o", str(out / "out.json"), "--format", "json", *options]
        exit_code = code(["analyze", target, *given])
        stdout, stderr = capsys.readouterr()
        assert exit_code == 2, stderr
        assert stdout == ""
        assert "Traceback" not in stderr
        assert stderr.startswith("graphmem: error: ")
        assert stderr.count("graphmem: ") == 1
        assert list(out.iterdir()) == []
        assert re.search(r"^  fix  \S", stderr, re.M), f"says no fix: {stderr}"
        return stderr

    return run


# --- the file -----------------------------------------------------------------------------------------------------


def test_no_such_file(refuse: Refuse, file: Path) -> None:
    assert f"{file} does not exist" in refuse(None)


def test_a_directory(refuse: Refuse, file: Path) -> None:
    assert f"{file.parent} is a directory" in refuse(None, target=str(file.parent))


def test_not_python(refuse: Refuse, file: Path) -> None:
    text = file.with_suffix(".txt")
    text.write_text("hello")
    assert f"{text} is not a Python file" in refuse(None, target=str(text))


@pytest.mark.parametrize(
    "source",
    ["def model(:  # <-\n    pass\n", "if True:\npass  # <-\n", GOOD + "x = (1,  # <-\n"],
    ids=["bad", "indent", "unclosed"],
)
def test_syntax_error(refuse: Refuse, file: Path, source: str) -> None:
    error = refuse(source)
    assert "syntax error" in error
    assert marked(file) in error


@pytest.mark.parametrize("source", [b"x = 1\0\n", b"x = '\xff'\n"], ids=["null byte", "not UTF-8"])
def test_unreadable_source(refuse: Refuse, file: Path, source: bytes) -> None:
    error = refuse(source)
    assert str(file) in error
    assert ":None" not in error


def test_syntax_error_in_a_helper(refuse: Refuse, file: Path) -> None:
    helper = file.with_name("helper_with_syntax_error.py")
    helper.write_text("x = = 1  # <-\n")
    error = refuse("import helper_with_syntax_error\n" + GOOD)
    assert marked(helper) in error
    assert f"{file} has a syntax error" not in error


DEEP = {
    "here": "1 / 0  # <-\n",
    "own function": "def f(): return {}['x']  # <-\nf()\n",
    "helper": "import helper_that_raises\nhelper_that_raises.outer()  # <-\n",
    "torch, in C++": "torch.zeros(2) @ torch.zeros(3)  # <-\n",
    "torch, in Python": "nn.Linear('x', 2)  # <-\n",
    "standard library": "import json\njson.loads('{')  # <-\n",
    "missing import": "import no_such_module_anywhere  # <-\n",
}


@pytest.mark.parametrize("line", first_of(DEEP.values()), ids=DEEP)
@pytest.mark.parametrize("in_", ["file", "model()", "inputs()"])
def test_user_code_raises(refuse: Refuse, file: Path, line: str, in_: str) -> None:
    file.with_name("helper_that_raises.py").write_text("def outer(): inner()\ndef inner(): raise KeyError('deep')\n")
    indented = "".join(f"    {x}\n" for x in line.splitlines())
    parts = {"file": line, "model()": MODEL, "inputs()": INPUTS}
    if in_ != "file":
        parts = {**parts, "file": "", in_: f"def {in_[:-2]}(h=16):\n{indented}"}
    error = refuse(HEAD + parts["file"] + parts["model()"] + parts["inputs()"])
    assert marked(file) in error
    assert ("model.py raised" if in_ == "file" else f"{in_} raised") in error


@pytest.mark.parametrize("how", ["relative", "symlink"])
def test_own_line_however_the_file_is_named(
    refuse: Refuse, file: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(HEAD + DEEP["torch, in Python"] + MODEL + INPUTS)
    link = file.with_name("link")
    link.symlink_to(file.parent)
    monkeypatch.chdir(file.parent)
    error = refuse(None, target="model.py" if how == "relative" else str(link / "model.py"))
    assert "model.py:3 " in error
    assert "linear.py" not in error


@pytest.mark.parametrize("status", first_of(["", "0", "3", "'bye'"]))
@pytest.mark.parametrize("in_", ["file", "model", "inputs", "forward"])
def test_sys_exit(refuse: Refuse, file: Path, in_: str, status: str) -> None:
    stop = f"sys.exit({status})  # <-"
    model, inputs = MODEL, INPUTS
    if in_ == "model":
        model = f"def model(h=16):\n    {stop}\n"
    elif in_ == "inputs":
        inputs = f"def inputs(h=16):\n    {stop}\n"
    elif in_ == "forward":
        model = NET.format(body=stop)
    error = refuse("import sys\n" + HEAD + (f"{stop}\n" if in_ == "file" else "") + model + inputs)
    assert "SystemExit" in error
    assert marked(file) in error


def test_traceback_on_request(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("return nn.Linear(h, h)", "1 / 0"))
    assert main(["analyze", str(file), "--traceback"]) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert "Traceback (most recent call last)" in stderr
    assert "graphmem: error: model() raised ZeroDivisionError" in stderr


# --- the factories ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["", HEAD, HEAD + INPUTS], ids=["empty", "imports", "inputs only"])
def test_no_factory(refuse: Refuse, file: Path, source: str) -> None:
    error = refuse(source)
    assert f"{file} has no model()" in error
    assert "def model(h=768" in error
    assert "def inputs(b=8" in error


def test_no_inputs(refuse: Refuse, file: Path) -> None:
    error = refuse(HEAD + MODEL)
    assert f"{file} has no inputs()" in error
    assert "def inputs(b=8" in error


def test_no_factory_of_that_name(refuse: Refuse, file: Path) -> None:
    error = refuse(GOOD, target=f"{file}:modle")
    assert f"{file} has no modle()" in error


@pytest.mark.parametrize("name", ["model", "inputs"])
@pytest.mark.parametrize(
    "value", ["nn.Linear", "3", "'text'", "[]", "nn.Linear(16, 16)"], ids=["class", "int", "str", "list", "module"]
)
def test_factory_that_is_no_function(refuse: Refuse, file: Path, name: str, value: str) -> None:
    error = refuse(GOOD + f"{name} = {value}\n")
    assert f"{name} in {file} is not a function" in error
    assert f"def {name}(" in error


@pytest.mark.parametrize("value", ["None", "16", "'text'", "torch.zeros(2)", "nn.Linear", "(nn.Linear(2, 2),)"])
def test_factory_that_returns_no_module(refuse: Refuse, file: Path, value: str) -> None:
    error = refuse(HEAD + f"def model(h=16): return {value}  # <-\n" + INPUTS)
    assert "model() returned" in error
    assert "not a torch.nn.Module" in error
    assert marked(file).strip() in error


@pytest.mark.parametrize("value", first_of(["None", "8", "'text'", "(x for x in ())", "torch.float32"]))
def test_inputs_of_a_wrong_type(refuse: Refuse, file: Path, value: str) -> None:
    error = refuse(HEAD + MODEL + f"def inputs(h=16): return {value}  # <-\n")
    assert "inputs() returned" in error
    assert "not a tuple or dict of tensors" in error
    assert marked(file).strip() in error


@pytest.mark.parametrize("name", ["model", "inputs"])
@pytest.mark.parametrize("parameters", ["h", "h=16, *, p", "h, /"])
def test_parameter_without_default(refuse: Refuse, file: Path, name: str, parameters: str) -> None:
    parts = {"model": MODEL, "inputs": INPUTS, name: f"def {name}({parameters}): return None  # <-\n"}
    error = refuse(HEAD + parts["model"] + parts["inputs"])
    missing = "p" if "p" in parameters else "h"
    assert f"parameter {missing} of {name}() has no default" in error
    assert f"def {name}({missing}=" in error
    assert marked(file).strip() in error


def test_two_defaults_of_one_symbol(refuse: Refuse, file: Path) -> None:
    error = refuse(HEAD + MODEL + "def inputs(s=8, h=32): return (torch.randn(s, h),)  # <-\n")
    assert "h is 16 in model() and 32 in inputs()" in error
    assert marked(file).strip() in error


def test_loss_that_is_no_function(refuse: Refuse) -> None:
    assert "loss in " in refuse(GOOD + "loss = 3\n")


@pytest.mark.parametrize(
    ("body", "says"), [("return 3", "returned int"), ("raise ValueError('no')", "raised ValueError")]
)
def test_bad_loss(refuse: Refuse, file: Path, body: str, says: str) -> None:
    error = refuse(GOOD + f"def loss(output): {body}  # <-\n")
    assert f"loss() {says}" in error
    assert marked(file).strip() in error


# --- forward ------------------------------------------------------------------------------------------------------

USE = NET.format(body="return self.lin(x)  # <-")


def test_shapes_that_do_not_fit(refuse: Refuse, file: Path) -> None:
    error = refuse(HEAD + USE + "def inputs(s=8): return (torch.randn(s, 15),)\n")
    assert re.search(r"\b15\b.*\b16\b", error)
    assert marked(file) in error
    assert "in module lin" in error
    assert "Net.forward(x)" in error


@pytest.mark.parametrize(
    ("inputs", "says"),
    first_of(
        [
            ("{'x': torch.randn(8, h), 'y': torch.randn(8)}", "'y'"),
            ("{'input_ids': torch.randn(8, h)}", "input_ids"),
            ("(torch.randn(8, h), torch.randn(8, h))", "positional argument"),
            ("()", "missing 1 required positional argument: 'x'"),
            ("{}", "missing 1 required positional argument: 'x'"),
        ],
        2,
    ),
    ids=["one keyword too many", "wrong keyword", "one argument too many", "no argument", "no keyword"],
)
def test_arguments_that_do_not_fit(refuse: Refuse, inputs: str, says: str) -> None:
    error = refuse(HEAD + USE + f"def inputs(h=16): return {inputs}\n")
    assert says in error
    assert "Net.forward(x)" in error


def test_forward_raises(refuse: Refuse, file: Path) -> None:
    error = refuse(HEAD + NET.format(body="raise ValueError('two\\nlines')  # <-") + INPUTS)
    assert "forward raised ValueError: two" in error
    assert marked(file) in error


VALUES = {
    "if": "return x if self.lin(x).sum() > 0 else -x  # <-",
    "item": "return x * self.lin(x).sum().item()  # <-",
    "float": "return x * float(self.lin(x).max())  # <-",
    "tolist": "return x * self.lin(x)[0].tolist()[0]  # <-",
    "nonzero": "return self.lin(x).nonzero()  # <-",
    "mask": "y = self.lin(x); return y[y > 0]  # <-",
    "range": "return sum(x for _ in range(int(self.lin(x).sum())))  # <-",
}


@pytest.mark.parametrize("body", first_of(VALUES.values()), ids=VALUES)
def test_forward_asks_for_values(refuse: Refuse, file: Path, body: str) -> None:
    error = refuse(HEAD + NET.format(body=body) + INPUTS)
    assert "forward asks for the value of a tensor" in error
    assert marked(file) in error


OPERATOR = """
@torch.library.custom_op("badinput::{name}", mutates_args=(), device_types="cuda")
def {name}(x: torch.Tensor) -> torch.Tensor:
    return x.clone()
"""


def test_operator_without_fake_kernel(refuse: Refuse, file: Path) -> None:
    body = "return nofake(self.lin(x))  # <-"
    error = refuse(HEAD + OPERATOR.format(name="nofake") + NET.format(body=body) + INPUTS)
    assert "badinput::nofake has no fake kernel" in error
    assert marked(file) in error
    assert '@torch.library.register_fake("badinput::nofake")' in error


@pytest.mark.slow
def test_the_fix_for_a_missing_fake_kernel_works(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fix = '@torch.library.register_fake("badinput::faked")\ndef _(x): return torch.empty_like(x)\n'
    body = "return faked(x.detach()) * self.lin(x)"
    file.write_text(HEAD + OPERATOR.format(name="faked") + fix + NET.format(body=body) + INPUTS)
    assert main(["analyze", str(file)]) == 0, capsys.readouterr().err


# --- the command line ---------------------------------------------------------------------------------------------

TYPED = HEAD + INPUTS + "def model(h=16, p=0.1, deep=True, kinds=('relu', 'gelu')): return nn.Linear(h, h)\n"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("hh=32", "did you mean h?"),
        ("dep=0", "did you mean deep?"),
        ("zzz=1", "known: s=8, h=16"),
        ("h=big", "h takes a value of type int, such as 16"),
        ("h=1.5", "h takes a value of type int"),
        ("h=", "h takes a value of type int"),
        ("p=much", "p takes a value of type float, such as 0.1"),
        ("deep=maybe", "deep takes a value of type bool, such as True"),
        ("kinds=silu", "kinds takes a value of type tuple, such as ('relu', 'gelu')"),
        ("h", "--set h: not NAME=VALUE"),
        ("=5", "--set =5: not NAME=VALUE"),
        ("", "not NAME=VALUE"),
        ("s=-8", "s must be a positive integer, not -8"),
    ],
)
def test_bad_setting(refuse: Refuse, setting: str, says: str) -> None:
    assert says in refuse(TYPED, "--set", setting)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--gpu", "h10", "unknown GPU 'h10'|did you mean h100?"),
        ("--gpu", "a-1000", "unknown GPU 'a-1000'|did you mean a100?"),
        ("--gpu", "", "unknown GPU ''|known: h100"),
        ("--dtype", "bf15", "unknown dtype 'bf15'|bf16"),
        ("--dtype", "int8", "unknown dtype 'int8'|bf16"),
        ("--autocast", "bf15", "unknown dtype 'bf15'|bf16"),
        ("--autocast", "fp64", "bf16|fp16"),
        ("--torch", "new", "cannot read the version 'new'|write it like"),
        ("--cudnn", "9", "cannot read the version '9'|write it like"),
    ],
)
def test_bad_option(refuse: Refuse, option: str, value: str, says: str) -> None:
    error = refuse(GOOD, option, value)
    assert all(part in error for part in says.split("|"))


@pytest.mark.parametrize(
    "target",
    ["no.such.module:model", "torch.no_such:model", "no_such", "no-such:model", "", ":", ":model", ".x:y", "a..b"],
)
def test_bad_module_name(refuse: Refuse, target: str) -> None:
    says = "TARGET is model.py, model.py:name, package.module:name or a Hugging Face config.json"
    assert says in refuse(GOOD, target=target)


def test_module_without_that_factory(refuse: Refuse) -> None:
    assert "json.decoder has no model()" in refuse(None, target="json.decoder")


def test_module_that_raises(refuse: Refuse, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = file.with_name("package_that_raises")
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "zoo.py").write_text("import no_such_module_anywhere  # <-\n")
    monkeypatch.chdir(file.parent)
    error = refuse(None, target="package_that_raises.zoo:model")
    assert "package_that_raises.zoo raised ModuleNotFoundError" in error
    assert marked(package / "zoo.py") in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["analyse", "model.py"], "analyze"),
        (["analyze"], "TARGET"),
        (["analyze", "model.py", "--format", "xml"], "json"),
        (["analyze", "model.py", "--device", "tpu"], "cpu"),
        (["analyze", "model.py", "--sett", "s=8", "--no-such"], "--no-such"),
        (["analyze", "model.py", "more.py"], "more.py"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else None,
)
def test_bad_usage(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code(arguments) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert says in stderr
    assert "usage: graphmem" in stderr


@pytest.mark.parametrize("where", ["missing/out.json", "folder", ".", "", "/", "model.py/out.json"])
def test_output_that_cannot_be_written(
    file: Path, where: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(GOOD)
    file.with_name("folder").mkdir()
    monkeypatch.chdir(file.parent)
    assert code(["analyze", "model.py", "-o", where]) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "cannot write" in stderr
    assert "-o takes a file in an existing folder" in stderr
    assert sorted(p.name for p in file.parent.rglob("*")) == ["folder", "model.py"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_device_that_cannot_be_written() -> None:
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left on device"):
        write("a report", "/dev/full")
    assert Path("/dev/full").is_char_device()


class Full(io.StringIO):
    """A stdout on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_stdout_that_cannot_be_written(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(GOOD)
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["analyze", str(file)]) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_an_older_report_survives_a_failure(file: Path) -> None:
    old = file.with_name("out.json")
    old.write_text("old")
    file.write_text("1 / 0\n")
    assert main(["analyze", str(file), "-o", str(old)]) == 2
    assert old.read_text() == "old"


# --- what the file does to the process ----------------------------------------------------------------------------


@pytest.mark.parametrize("in_", first_of(["file", "model", "inputs", "forward"]))
@pytest.mark.parametrize("how", first_of(["print('noise')", "sys.stdout.write('noise\\n')"]))
def test_prints_go_to_stderr(file: Path, capsys: pytest.CaptureFixture[str], in_: str, how: str) -> None:
    line = dict.fromkeys(["file", "model", "inputs", "forward"], "pass") | {in_: how}
    file.write_text(
        f"import sys\n{HEAD}{line['file']}\n"
        f"class Net(nn.Linear):\n    def forward(self, x):\n        {line['forward']}\n        return x * self.weight\n"
        f"def model(h=16):\n    {line['model']}\n    return Net(h, h)\n"
        f"def inputs(h=16):\n    {line['inputs']}\n    return (torch.randn(h, h),)\n"
    )
    assert main(["analyze", str(file), "--format", "json"]) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["format"] == 1
    assert "noise" in stderr


@pytest.mark.slow
def test_prints_of_other_programs_go_to_stderr(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file.write_text("import os\nos.system('echo noise')\n" + GOOD)
    assert main(["analyze", str(file), "--format", "json"]) == 0
    stdout, stderr = capfd.readouterr()
    assert json.loads(stdout)["format"] == 1
    assert "noise" in stderr


def state() -> dict[str, object]:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "seed": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "folder": os.getcwd(),
        "filters": list(warnings.filters),
        "stdout": sys.stdout,
    }


CHANGES = {
    "default dtype": "torch.set_default_dtype(torch.bfloat16)",
    "default device": "torch.set_default_device('meta')",
    "number of threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "gradient mode": "torch.set_grad_enabled(False)",
    "deterministic mode": "torch.use_deterministic_algorithms(True, warn_only=True)",
    "working directory": "os.chdir('/')",
    "environment": "os.environ['GRAPHMEM_TEST'] = '1'; os.environ.pop('PATH')",
    "sys.argv": "sys.argv = ['train.py']",
}
SILENT = {
    "sys.path": "sys.path.insert(0, '/no/such/folder'); sys.path.remove(sys.path[-1])",
    "torch's seed": "torch.manual_seed(7)",
    "random's seed": "import random; random.seed(7)",
    "warnings": "import warnings; warnings.simplefilter('error')",
    "stdout": "sys.stdout = sys.__stderr__",
}
FAILURES = {
    "": "",
    "in the file": "1 / 0\n",
    "in model()": "def model(h=16): 1 / 0\n",
    "in forward": NET.format(body="1 / 0"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


WHEN = pytest.mark.parametrize("failure", FAILURES.values(), ids=[f"error {k}" if k else "no error" for k in FAILURES])


def run_with(change: str, failure: str, folder: Path) -> int:
    (folder / "model.py").write_text(f"import os, sys\n{HEAD}{change}\n{MODEL}{INPUTS}{failure}")
    return main(["analyze", "model.py"])


@WHEN
@pytest.mark.parametrize("what", first_of([*CHANGES, *SILENT]))
def test_process_is_as_before(folder: Path, what: str, failure: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = state()
    exit_code = run_with((CHANGES | SILENT)[what], failure, folder)
    assert state() == before
    assert exit_code == (2 if failure else 0), capsys.readouterr().err


@WHEN
@pytest.mark.parametrize("what", first_of(CHANGES))
def test_what_was_put_back_is_said(folder: Path, what: str, failure: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_with(CHANGES[what], failure, folder)
    stderr = capsys.readouterr().err
    notes = [line for line in stderr.splitlines() if line.startswith("graphmem: note: ")]
    assert any(what in note for note in notes), f"no note on it: {stderr}"


@pytest.mark.parametrize("what", first_of(CHANGES))
def test_the_check_sees_a_change(what: str) -> None:
    before = state()
    path, argv, environment, folder = list(sys.path), list(sys.argv), dict(os.environ), os.getcwd()
    try:
        exec(CHANGES[what], {"torch": torch, "os": os, "sys": sys})
        assert state() != before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_num_threads(int(str(before["threads"])))
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:], sys.argv[:] = path, argv
    assert state() == before


@pytest.mark.slow
def test_no_note_where_nothing_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.py").write_text(GOOD)
    assert main(["analyze", "model.py"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_output_goes_where_the_user_is(folder: Path) -> None:
    (folder / "model.py").write_text("import os\nos.chdir('/')\n" + GOOD)
    assert main(["analyze", "model.py", "-o", "out.txt"]) == 0
    assert "saved for backward" in (folder / "out.txt").read_text()


@pytest.mark.slow
def test_working_directory_that_is_gone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.py").write_text("import os\nos.mkdir('x')\nos.chdir('x')\nos.rmdir('../x')\n" + GOOD)
    exit_code = main(["analyze", "model.py"])
    assert os.getcwd() == str(folder)
    assert exit_code == 0, capsys.readouterr().err


@pytest.mark.slow
def test_settings_of_the_file_hold_during_the_analysis(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.py").write_text(HEAD + "torch.set_default_dtype(torch.bfloat16)\n" + USE + INPUTS + SQUARE)
    assert main(["analyze", "model.py", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["saved"]["bytes"] == 8 * 16 * 2


SQUARE = "def loss(output): return (output ** 2).sum()\n"
