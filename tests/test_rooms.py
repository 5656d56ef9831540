"""Whoever opens a room finds what is where: the docstring of its `__init__` lists its files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support.floors import PACKAGE

ROOMS = {
    str(file.parent.relative_to(PACKAGE)): file
    for file in sorted(PACKAGE.rglob("__init__.py"))
    if "packages" not in file.relative_to(PACKAGE).parts
    and file.parent != PACKAGE  # docs/how_it_works.md has the files of the ground floor
}
# Rooms to which people add a file: the list has the rest, and says what the others are.
OPEN = {"attention", "kernels", "linter/formats", "linter/rules", "render"}


def listed(init: Path) -> set[str]:
    docstring = ast.get_docstring(ast.parse(init.read_text())) or ""
    return set(re.findall(r"(?<![\w/])\w+(?:\.py|/(?= ))", docstring))


def there(init: Path) -> set[str]:
    files = {file.name for file in init.parent.glob("*.py")} - {"__init__.py"}
    folders = {f"{folder.name}/" for folder in init.parent.iterdir() if folder.is_dir() and any(folder.rglob("*.py"))}
    return files | folders


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_is_listed(room: str) -> None:
    missing = there(ROOMS[room]) - listed(ROOMS[room])
    if room in OPEN:
        assert re.search(r"One file per|Every other file", ROOMS[room].read_text())
    else:
        assert not missing, f"say in {ROOMS[room]} what these are for"


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_listed_is_there(room: str) -> None:
    assert listed(ROOMS[room]) <= there(ROOMS[room])
