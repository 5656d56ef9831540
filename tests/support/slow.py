"""Measured sets are long. `pytest` alone takes a row of each family; the others are marked slow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest


def name_of(row: Any) -> Any:
    return row["name"]


def one_of(
    families: Collection[object] | None, rows: Iterable[Any], family: Callable[[Any], object] = name_of
) -> list[Any]:
    """`rows` as parameters: the first row of each of these families (None: of every one) is fast, the others slow."""
    seen: set[object] = set()
    parameters = []
    for row in rows:
        its = family(row)
        fast = its not in seen and (families is None or its in families)
        seen.add(its)
        parameters.append(_parameter(row, fast=fast))
    return parameters


def first_of(rows: Iterable[Any], n: int = 1) -> list[Any]:
    """`rows` as parameters where any will do: the first `n` are fast, the others slow."""
    return [_parameter(row, fast=i < n) for i, row in enumerate(rows)]


def _parameter(row: Any, *, fast: bool) -> Any:
    values = row if isinstance(row, tuple) else (row,)
    return pytest.param(*values, marks=() if fast else pytest.mark.slow)
