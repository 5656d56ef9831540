"""`graphmem.assert_fits`, the marker and the fixture."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import graphmem
from graphmem.errors import GraphmemError
from support.repo import ROOT
from support.tiny import inputs, model


def test_what_fits_passes_and_gives_the_report() -> None:
    report = graphmem.assert_fits(model, inputs, budget="1MiB")
    assert report.alive.bytes == 4 * (64 + 64 + 32) * 4  # before and after GELU, and the output


@pytest.mark.slow
def test_a_target_brings_its_inputs() -> None:
    report = graphmem.assert_fits(str(ROOT / "tests" / "support" / "tiny.py"), budget="1MiB")
    assert report.alive.bytes == 4 * (64 + 64 + 32) * 4


@pytest.mark.parametrize("budget", ["2KiB", 2048])
def test_what_does_not_fit_fails_with_the_largest_causes(budget) -> None:
    with pytest.raises(AssertionError) as failure:
        graphmem.assert_fits(model, inputs, budget=budget, symbols={"b": 8})
    lines = str(failure.value).splitlines()
    assert "forward leaves 5.00 KiB alive, 3.00 KiB over the budget of 2.00 KiB" in lines[0]
    assert "b=8" in lines[1]
    assert lines[lines.index("largest causes:") + 1].startswith("  2.00 KiB, ")


def test_a_budget_that_is_none() -> None:
    with pytest.raises(GraphmemError, match="cannot read budget"):
        graphmem.assert_fits(model, inputs, budget="much")


HEAD = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import pytest
"""


def run(tmp_path, source):
    """pytest in a process of its own, with the plugin as an installed graphmem brings it."""
    (tmp_path / "test_model.py").write_text(HEAD + source)
    installed = any(e.value == "graphmem.pytest_plugin" for e in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "graphmem.pytest_plugin"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--strict-markers",
        "-p",
        "no:cacheprovider",
        *plugin,
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_marker_gives_the_fixture_its_budget(tmp_path) -> None:
    code, out = run(
        tmp_path,
        """
from support.tiny import inputs, model


@pytest.mark.graphmem_budget("1MiB")
def test_fits(graphmem_fits) -> None:
    graphmem_fits(model, inputs)


@pytest.mark.graphmem_budget("1MiB")
def test_a_target_fits(graphmem_fits) -> None:
    graphmem_fits(sys.modules[model.__module__].__file__)


@pytest.mark.graphmem_budget("1KiB", symbols={"b": 8})
def test_does_not(graphmem_fits) -> None:
    graphmem_fits(model, inputs)
""",
    )
    assert code == 1, out
    assert "1 failed, 2 passed" in out
    assert "largest causes:" in out
    assert "4.00 KiB over the budget of 1.00 KiB" in out


@pytest.mark.slow
def test_a_marker_that_asserts_nothing_is_an_error(tmp_path) -> None:
    code, out = run(tmp_path, "@pytest.mark.graphmem_budget('1GiB')\ndef test_nothing(): pass\n")
    assert code == 4, out
    assert "asserts nothing without the fixture" in out
