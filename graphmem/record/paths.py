"""Dotted paths of modules: which of their parts are numbers of layers, and which module is inside which."""

from __future__ import annotations

from collections.abc import Iterable

from graphmem.record.trace import Trace

SHARED = "*"  # stands in place of a layer's number


def folded(path: str, containers: frozenset[str]) -> tuple[str, tuple[int, ...]]:
    """`layers.3.attn` as (`layers.*.attn`, (3,)): the number of every layer in one of `containers` is taken out."""
    parts = path.split(".") if path else []
    numbers: list[int] = []
    for i, part in enumerate(parts):
        if part.isdigit() and ".".join(_numbered(parts[:i], numbers)) in containers:
            numbers.append(int(part))
            parts[i] = SHARED
    return ".".join(parts), tuple(numbers)


def _numbered(parts: list[str], numbers: list[int]) -> list[str]:
    """Put the numbers back that `folded` has taken out so far."""
    remaining = iter(numbers)
    return [str(next(remaining)) if part == SHARED else part for part in parts]


def is_within(path: str, ancestor: str) -> bool:
    """Whether module `path` is `ancestor` or below it; all are within ""."""
    return not ancestor or path == ancestor or path.startswith(f"{ancestor}.")


def common_module(trace: Trace, calls: Iterable[int]) -> str:
    """The path of the innermost module call inside which all of `calls` are, or which they are; "" without any."""
    paths = [trace.call_path(call) for call in calls]
    common = 0
    while paths and all(len(p) > common for p in paths) and len({p[common] for p in paths}) == 1:
        common += 1
    return trace.calls[paths[0][common - 1]].path if common else ""
