"""`Miss`: a table in which a trace has other storages than the formulas say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphmem.points import Point


@dataclass(frozen=True)
class Miss:
    """At `point` the storages of `table` are not as foretold: they are `kept` bytes together. foretold: None where a
    formula gives no whole number there. counted: whether the table is part of the account's sum."""

    point: Point
    table: str
    counted: bool
    kept: int
    foretold: int | None


def total(sizes: Counter[int]) -> int | None:
    """Bytes of all of them; -1 stands for a size that is no whole number."""
    return None if -1 in sizes else sum(size * n for size, n in sizes.items())
