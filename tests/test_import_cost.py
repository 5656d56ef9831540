"""What needs no torch does not import it: importing the package, asking for help, a command line that is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.slow import first_of

_REPORT = "\nimport sys\nprint('LOADED' if 'torch' in sys.modules else 'NOT LOADED')"
_MAIN = """
import contextlib, io
from graphmem.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    try:
        code = main({arguments!r})
    except SystemExit as stop:
        code = stop.code
assert code == {code}, code
"""
_AS_MODULE = """
import contextlib, io, runpy, sys
sys.argv = ["graphmem", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    runpy.run_module("graphmem", run_name="__main__")
assert "usage: graphmem" in out.getvalue()
"""


def loads_torch(code: str) -> bool:
    """Whether a fresh interpreter has torch in sys.modules after `code`."""
    run = subprocess.run([sys.executable, "-c", code + _REPORT], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize(
    "code",
    [
        "import graphmem",
        "import graphmem.pytest_plugin",
        "import graphmem; dir(graphmem); graphmem.__version__",
        _AS_MODULE,
    ],
)
def test_import_without_torch(code: str) -> None:
    assert not loads_torch(code)


@pytest.mark.parametrize(
    ("arguments", "code"),
    first_of(
        [
            (["--help"], 0),
            (["--version"], 0),
            (["analyze", "--help"], 0),
            ([], 2),
            (["analyse"], 2),
            (["analyze"], 2),
            (["analyze", "model.py", "--format", "xml"], 2),
            (["analyze", "model.py", "--set", "s"], 2),
            (["rule", "GM101"], 0),
            (["rule", "--all"], 0),
            (["rule", "GM777"], 2),
            (["lint", "--help"], 0),
            (["lint", "model.py", "--budget", "much"], 2),
            (["lint", "model.py", "--select", "GM777"], 2),
            (["validate", "--help"], 0),
            (["validate", "model.py", "--set", "s"], 2),
        ],
        8,
    ),
    ids=lambda x: " ".join(x) if isinstance(x, list) else None,
)
def test_command_line_without_torch(arguments: list[str], code: int) -> None:
    assert not loads_torch(_MAIN.format(arguments=arguments, code=code))


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import torch",
        pytest.param("import graphmem\ngraphmem.analyze", marks=pytest.mark.slow),
        pytest.param(_MAIN.format(arguments=["analyze", "no_such.py"], code=2), marks=pytest.mark.slow),
    ],
    ids=["torch itself", "graphmem.analyze", "an analysis"],
)
def test_the_check_can_fail(code: str) -> None:
    assert loads_torch(code)
