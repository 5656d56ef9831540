"""Private names of torch in a source: what graphmem/_torch.py has, and nothing else may have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from support.floors import PACKAGE

HOME = PACKAGE / "_torch.py"
# Modules and functions that torch does not document, although nothing in their names says so.
UNDOCUMENTED = {"torch.multiprocessing.reductions", "torch.cuda.amp.common", "CheckpointFunction"}
UNDOCUMENTED |= {"StorageWeakRef", "DisableTorchFunction", "amp_definitely_not_available"}
# Every pickled module has these: see the docstring of graphmem/_torch.py.
IN_PICKLES = {"_parameters", "_buffers", "_modules"}
# Attributes of others' objects.
OF_OTHERS = {
    "_actions": "argparse",
    "_make": "a named tuple's method",
    "_replace": "a named tuple's method",
    "_model_mapping": "transformers",
    "_from_config": "transformers",
}
# Functions that take an attribute by its name.
BY_NAME = ("getattr", "setattr", "hasattr", "delattr", "patched")
OPERATORS = re.compile(r"(torch\.ops|_?aten)\.")
IN_A_TEXT = re.compile(r"\btorch(\.\w+)*\._[A-Za-z]\w*")


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name.strip("_") != ""


def defined(tree: ast.AST) -> set[str]:
    """What a file gives a name to: functions, classes, variables, attributes of self."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
    return found


def other_modules(tree: ast.AST) -> set[str]:
    """The modules that a file imports as a whole, but for torch's: `sys`, whose `_getframe` is not torch's."""
    imported = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {a.asname or a.name.split(".")[0] for a in imported if a.name.split(".")[0] != "torch"}


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the texts that nobody uses."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def names_of_torch(source: str, own: set[str], kept: set[str]) -> Iterator[str]:
    """Every private name of torch in `source`, with its line.

    Args:
        own: private names that are graphmem's. kept: texts that graphmem/_torch.py has, and that may stand only there.
    """
    tree = ast.parse(source)
    unused, others = docstrings(tree), other_modules(tree)
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if _is_private_path(alias.name)]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in whole if _is_private_path(name)]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)] if _is_private_attribute(node, own, others) else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in unused:
            if node.value in kept or IN_A_TEXT.search(node.value):
                names = [repr(node.value)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME:
            second = node.args[1] if len(node.args) > 1 else None
            if isinstance(second, ast.Constant) and _is_private_name(str(second.value), own):
                names = [ast.unparse(node)]
        yield from (f"{node.lineno}: {name}" for name in names)


def _is_private_path(name: str) -> bool:
    parts = name.split(".")
    undocumented = any(name == u or name.startswith(f"{u}.") or u in parts for u in UNDOCUMENTED)
    return parts[0] == "torch" and (undocumented or any(map(is_private, parts)))


def _is_private_name(name: str, own: set[str]) -> bool:
    return name in UNDOCUMENTED or (is_private(name) and name not in own | IN_PICKLES | set(OF_OTHERS))


def _is_private_attribute(node: ast.Attribute, own: set[str], others: set[str]) -> bool:
    whole, owner = ast.unparse(node), ast.unparse(node.value)
    if OPERATORS.match(whole) or owner in {"self", "cls", "super()"} | others:
        return False
    return any(whole.endswith(f".{name}") or whole == name for name in UNDOCUMENTED) or _is_private_name(node.attr, own)


def texts_of(source: str) -> set[str]:
    """The names that graphmem/_torch.py has as texts."""
    tree = ast.parse(source)
    unused = docstrings(tree)
    constants = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in unused)
    texts = {n.value for n in constants if isinstance(n.value, str) and re.fullmatch(r"\w+(\.\w*)*", n.value)}
    return {text for text in texts if is_private(text) or re.match(r"torch\.\w", text)}
