"""Sizes that a file keeps as constants at top level (n_embd = 384) and that its classes read as globals."""

from __future__ import annotations

import ast
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch

from graphmem.load.discover.recipe import Recipe, Values
from graphmem.load.discover.root import source_of
from graphmem.machine.pretend import device_meant

_ARITHMETIC = (ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop)


def with_constants(recipe: Recipe, module: ModuleType) -> Recipe:
    """The recipe with the file's constants as fields too; constants that are computed from others follow them."""
    constants, computed = _constants(module)
    constants = {name: value for name, value in constants.items() if name not in recipe.fields}
    devices = _devices(module)
    if not constants and not devices:
        return recipe

    def make(values: Values) -> Any:
        # They stay as they are until the next build: forward reads them too.
        scope = vars(module)
        scope.update({name: values.get(name, value) for name, value in constants.items()})
        for name, expression in computed:
            scope[name] = eval(expression, scope)
        for name, device in devices.items():
            scope[name] = type(device)(device_meant())
        return recipe.make({k: v for k, v in values.items() if k in recipe.fields})

    return replace(recipe, fields={**constants, **recipe.fields}, make=make)


def _devices(module: ModuleType) -> dict[str, Any]:
    """Variables that say where to compute, chosen by torch.cuda.is_available() before graphmem could answer."""
    found = {}
    for statement in source_of(module).body:
        if isinstance(statement, ast.Assign) and "is_available" in ast.unparse(statement.value):
            for target in statement.targets:
                value = getattr(module, target.id, None) if isinstance(target, ast.Name) else None
                if isinstance(value, (str, torch.device)) and str(value).partition(":")[0] in ("cpu", "cuda"):
                    found[target.id] = value  # type: ignore[attr-defined]
    return found


def _constants(module: ModuleType) -> tuple[dict[str, object], list[tuple[str, Any]]]:
    """Integers at top level that classes and functions read, and the constants that are computed from them."""
    tree = source_of(module)
    assigned = [
        (statement.targets[0].id, statement.value)
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
    ]
    bodies = [n for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))]
    read = {n.id for body in bodies for n in ast.walk(body) if isinstance(n, ast.Name)}
    written: dict[str, object] = {}
    computed: dict[str, ast.expr] = {}
    for name, value in assigned:
        if isinstance(value, ast.Constant) and type(value.value) is int:
            written[name] = value.value
        elif all(isinstance(n, _ARITHMETIC) for n in ast.walk(value)) and isinstance(value, ast.BinOp):
            computed[name] = value
    behind = read | {n.id for value in computed.values() for n in ast.walk(value) if isinstance(n, ast.Name)}
    constants = {k: v for k, v in written.items() if k in behind and getattr(module, k, None) == v}
    again = [(k, compile(ast.Expression(v), "<constant>", "eval")) for k, v in computed.items()]
    return constants, again if constants else []
