"""Data flows one way: a module imports only from its own stage and from stages before it."""

import ast

from conftest import ROOT

STAGES = [
    {"errors", "units", "paths", "callables", "collector"},
    {"target", "stand_ins"},
    {"trace", "kernels"},  # a trace runs the kernels' choice, a kernel writes its choice into the trace
    {"load"},
    {"saved"},
    {"symbolic"},
    {"attention"},
    {"report", "render"},  # Report.to_json is render.json's
    {"derivation"},
    {"analysis"},
    {"lint"},
    {"fits"},
    {"pytest_plugin"},
    {"validate"},
    {"cli", "options"},
]
STAGE = {name: i for i, names in enumerate(STAGES) for name in names}


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("graphmem."):
            yield node.module.split(".")[1], node.lineno


def test_imports_go_one_way():
    package = ROOT / "graphmem"
    for file in package.rglob("*.py"):
        own = file.relative_to(package).parts[0].removesuffix(".py")
        if own.startswith("__"):
            continue
        for other, line in imports(file):
            assert STAGE[other] <= STAGE[own], f"{file.name}:{line}: {own} imports {other}, which comes later"


def test_no_file_is_longer_than_one_can_hold():
    for file in (ROOT / "graphmem").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 330, file


def test_only_the_command_line_prints():
    for file in (ROOT / "graphmem").rglob("*.py"):
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        printing = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
        assert file.name == "cli.py" or not printing, file
