"""Data flows one way: a module imports from its own room and from rooms on lower floors, and never in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from support.floors import FLOOR, PACKAGE, existing, imported, room_of, sources


def offences(module: str, source: str, modules: dict[str, Path], is_package: bool = False) -> list[str]:
    own = room_of(module)
    found = []
    for name, line in imported(source, module, is_package):
        other = room_of(existing(name, modules))
        if other != own and not FLOOR[other] < FLOOR[own]:
            found.append(f"{module}:{line}: {own} imports {other}, which is not lower")
    return found


def test_imports_go_down() -> None:
    modules = sources()
    assert len(modules) > 100
    assert {room_of(m) for m in modules} <= set(FLOOR), "a new room needs a floor"
    wrong = [
        offence
        for module, file in modules.items()
        for offence in offences(module, file.read_text(), modules, file.name == "__init__.py")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_room_has_a_circle() -> None:
    """Also within a room; a package's `__init__` stands above its modules, so they import each other directly."""
    modules = sources()
    graph = {
        module: {existing(name, modules) for name, _ in imported(file.read_text(), module, file.name == "__init__.py")}
        - {module}
        for module, file in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    "line",
    [
        "from graphmem.trace.forward import trace",
        "import graphmem.trace",
        "from graphmem import trace",
        "from ..trace import forward",
        "def f():\n    from graphmem.trace import trace",
        "if TYPE_CHECKING:\n    from graphmem.trace import trace",
        "import_module('graphmem.trace.forward')",
        "importlib.import_module('graphmem.trace')",
        "import_module(name='graphmem.trace')",
        "from importlib import import_module as load\nload('graphmem.trace.forward')",
        "FORMS = {'trace': 'graphmem.trace.forward:trace'}",
        "import_module(f'graphmem.trace.{name}')",
        "from graphmem.analysis.report import Report",
    ],
)
def test_the_check_can_fail(line: str) -> None:
    """`symbolic` stands beside `trace`, and below `analysis`."""
    assert offences("graphmem.symbolic.derive", line, sources())
    assert not offences("graphmem.linter.engine", line, sources())


def test_a_name_that_is_computed_may_be_any_module() -> None:
    line = "import_module(f'graphmem.{room}')"
    assert offences("graphmem.linter.engine", line, sources())
    assert not offences("graphmem.__init__", line, sources())


def test_texts_that_import_nothing_are_none() -> None:
    for line in ('"""graphmem.trace"""', "x = 'graphmem.trace is a room'", "OPERATOR = 'graphmem.flex_attention'"):
        assert not offences("graphmem.symbolic.derive", line, sources())


LONGEST = 300  # lines: what one can read in a sitting
# Files that may be longer, and why.
LONGER = {
    "kernels/sdpa/rules.py": "one table, in the order in which torch asks",
    "stand_ins/packages/flash_attn/flash_attn_interface.py": "has what the file of this name has in flash-attn",
}


def test_files_are_short() -> None:
    for file in PACKAGE.rglob("*.py"):
        name = str(file.relative_to(PACKAGE))
        assert (len(file.read_text().splitlines()) > LONGEST) == (name in LONGER), name


def test_only_the_command_line_prints() -> None:
    for file in PACKAGE.rglob("*.py"):
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        printing = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
        assert file.parent.name == "cli" or not printing, file
