"""A test returns nothing and says so: type checkers look only into functions with annotations."""

from __future__ import annotations

import ast

import pytest

from support.repo import ROOT

TESTS = ROOT / "tests"


def unannotated(source: str) -> list[str]:
    """The tests in `source` without `-> None`."""
    tests = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    return [f"{test.lineno}: {test.name}" for test in tests if not test.returns or ast.unparse(test.returns) != "None"]


@pytest.mark.parametrize("folder", sorted({p.parent.relative_to(TESTS).as_posix() for p in TESTS.rglob("test_*.py")}))
def test_tests_return_none(folder: str) -> None:
    for file in (TESTS / folder).glob("test_*.py"):
        assert not unannotated(file.read_text()), file


def test_the_check_can_fail() -> None:
    assert unannotated("def test_it():\n    pass\n") == ["1: test_it"]
    assert not unannotated("def test_it() -> None:\n    pass\n")
