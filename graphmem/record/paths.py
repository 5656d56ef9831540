"""Dotted paths of modules: which of their parts are numbers of layers, and which module is inside which."""

from __future__ import annotations

SHARED = "*"  # in place of a layer's number


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
