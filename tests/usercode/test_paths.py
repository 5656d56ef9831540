"""Whose a file is: a folder whose name only begins as another's is not that one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import ModelError
from graphmem.how import read_how
from graphmem.trace import trace
from graphmem.usercode.paths import is_users, shown

TORCH, OURS = Path(torch.__file__).parent, Path(graphmem.__file__).parent
BESIDE = [TORCH.with_name("torchvision") / "model.py", OURS.with_name("graphmem_models") / "model.py"]
SOURCE = """
def forward(self, x):
    if x.shape[0] == 3:
        raise ValueError("three")
    return x.sin()
"""


def module_in(file: Path) -> nn.Module:
    """A module whose forward stands in `file`."""
    names: dict[str, object] = {}
    exec(compile(SOURCE, str(file), "exec"), names)
    return type("Sine", (nn.Module,), {"forward": names["forward"]})()


@pytest.mark.parametrize("file", BESIDE, ids=["torch", "graphmem"])
def test_a_model_beside_a_package_of_a_similar_name_has_lines(file: Path) -> None:
    record = trace(module_in(file), (torch.zeros(2, requires_grad=True),), read_how({}))
    assert {op.stack[0].file for op in record.ops if op.kind == "call"} == {str(file)}


@pytest.mark.parametrize("file", BESIDE, ids=["torch", "graphmem"])
def test_an_error_there_is_at_its_line(file: Path) -> None:
    with pytest.raises(ModelError) as error:
        trace(module_in(file), (torch.zeros(3),), read_how({}))
    assert f"{shown(str(file))}:4" in str(error.value.where)


def test_users_files_are_neither_ours_nor_installed() -> None:
    assert is_users(f"{OURS}_models/model.py")
    assert is_users(f"{sys.prefix}-experiments/model.py")
    assert not is_users(f"{OURS}/units.py")
    assert not is_users(f"{sys.prefix}/lib/package.py")
    assert not is_users("<string>")


def test_a_file_below_the_working_directory_is_shown_from_there() -> None:
    assert shown(str(Path.cwd() / "..models" / "gpt.py")) == str(Path("..models") / "gpt.py")
    assert shown(str(Path.cwd().parent / "gpt.py")) == str(Path.cwd().parent / "gpt.py")
