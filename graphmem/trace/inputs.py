"""The tensors of an input: nested tuples, lists and dicts, by their place in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from graphmem.errors import ModelError

# Inputs are not nested so deep, unless something holds itself.
_DEEP = 50


def children(value: Any, name: str) -> Iterator[tuple[Any, str, Any]]:
    """(key, dotted name, part) of a tuple, list or dict; nothing of anything else.

    Raises:
        ModelError: `name` says that it is nested without end.
    """
    if name.count(".") > _DEEP:
        raise ModelError(
            f"an input is nested more than {_DEEP} deep, at {name[:30]}...",
            hint="pass tensors, or tuples, lists and dicts of them; none of these may hold itself",
        )
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (tuple, list)) else ()
    for key, part in pairs:
        yield key, f"{name}.{key}".lstrip("."), part


def named_tensors(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    """Every tensor by its dotted name; a tensor by itself is called ""."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    return {k: t for _, inner, part in children(value, name) for k, t in named_tensors(part, inner).items()}
