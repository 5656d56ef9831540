"""Some cases of every kind, and all that once went wrong. Many more: `python tests/fuzz/fuzz.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.case import Case, case_of
from fuzz.fuzz import KINDS, found
from fuzz.judge import judge

# A config takes a second, most others a tenth.
CASES = {
    "config": 16,
    "model_file": 50,
    "module": 40,
    "interrupt": 40,
    "command_line": 60,
    "report": 40,
    "baseline": 24,
}
EACH = 5
BATCHES = [(kind, first) for kind in KINDS for first in range(0, CASES.get(kind, 30), EACH)]


def parameter(kind: str, first: int) -> Any:
    slow = first > 0 or kind == "config"
    return pytest.param(kind, first, marks=[pytest.mark.slow] if slow else [], id=f"{kind}-{first}")


@pytest.mark.parametrize(("kind", "first"), [parameter(*batch) for batch in BATCHES])
def test_nothing_goes_wrong(kind: str, first: int) -> None:
    for seed in range(first, min(first + EACH, CASES.get(kind, 30))):
        case = KINDS[kind](seed)
        assert not judge(case), case.to_json()


@pytest.mark.parametrize("case", found(), ids=lambda case: case.name)
def test_what_once_went_wrong(case: Case) -> None:
    assert not judge(case)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_case(kind: str) -> None:
    case = KINDS[kind](3)
    assert case == KINDS[kind](3)
    assert case == case_of(case.to_json())
    assert case != KINDS[kind](4)


@pytest.mark.slow
def test_by_hand(tmp_path: Path) -> None:
    fuzz = Path(__file__).with_name("fuzz.py")
    run = subprocess.run(
        [sys.executable, fuzz, "--kind", "pyproject", "--count", "3", "--found", tmp_path / "found"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "cases: 3, pyproject: 3" in run.stdout
    assert not (tmp_path / "found").exists()
