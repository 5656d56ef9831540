"""The rooms of graphmem, by floor: docs/how_it_works.md shows them, and tests/test_layers.py holds imports to them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support.repo import ROOT

PACKAGE = ROOT / "graphmem"
# From the ground up. Rooms on one floor stand side by side: neither knows the other.
FLOORS = [
    {"version", "escapes"},
    {"errors", "patches", "points"},
    {"units", "saved_json", "memo", "_torch"},
    {"record", "machine", "stand_ins"},
    {"usercode", "how"},
    {"kernels", "accounts"},
    {"trace", "symbolic"},
    {"load", "attention", "report"},
    {"render"},
    {"analysis"},
    {"linter", "validation"},
    {"pytest_plugin", "cli"},
    {"__init__", "__main__"},
]
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}


def module_of(file: Path) -> str:
    """`graphmem.record.trace`; a package goes by its name alone."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imported(source: str, module: str, is_package: bool = False) -> Iterator[tuple[str, int]]:
    """Every module of ours that `source` imports, in whatever form, with the line: also inside functions and under
    TYPE_CHECKING, relative, and by its name in a text. What a text computes may be any module."""
    tree = ast.parse(source)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            names = _named_in(node.value)
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] == "graphmem")


def _named_in(text: str) -> list[str]:
    """The module that a text names, as "graphmem.trace.forward:trace" or at the start of an f-string."""
    if text == "graphmem.":
        return ["graphmem"]
    room = re.match(r"graphmem\.(\w+)[\w.:]*$", text)
    return [text.partition(":")[0]] if room and room[1] in FLOOR else []


def sources() -> dict[str, Path]:
    """Our own modules; stand_ins/packages has those of others."""
    others = PACKAGE / "stand_ins" / "packages"
    return {module_of(file): file for file in sorted(PACKAGE.rglob("*.py")) if not file.is_relative_to(others)}


def existing(name: str, modules: dict[str, Path]) -> str:
    """The module behind `graphmem.record.Trace`: the longest part that there is."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name
