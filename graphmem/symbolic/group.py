"""Kept storages that differ only in the layer they are in, counted as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import sympy

from graphmem.saved import SAVED, Kept, Ordinal, folded
from graphmem.symbolic.depth import SHALLOW
from graphmem.symbolic.fit import symbol

K = TypeVar("K")
T = TypeVar("T")


class Key(NamedTuple):
    """What storages of one group share: where they are kept and made, layer numbers taken out, and what they are."""

    table: str
    module: str
    made_in: str
    op: str
    ordinal: Ordinal
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    keepers: tuple[str, ...]


def key_of(kept: Kept, containers: frozenset[str]) -> Key:
    """The group that `kept` belongs to."""
    return Key(
        kept.table,
        folded(kept.module, containers)[0],
        folded(kept.made_in, containers)[0],
        kept.op.name,
        # What is only held has no keeper to tell it by, and where in a loop it came up depends on the depth.
        kept.ordinal if kept.table == SAVED else ("", 0),
        kept.shape,
        kept.dtype,
        kept.nbytes,
        tuple(sorted(set(kept.keepers))),
    )


@dataclass(frozen=True)
class Count:
    """How many there are: `at_base` with every depth symbol at SHALLOW, and as many more per further layer."""

    at_base: int
    per_layer: tuple[tuple[str, int], ...] = ()

    def at(self, point: Mapping[str, int]) -> int:
        """The count with the depths of `point`."""
        return self.at_base + sum(slope * (point[name] - SHALLOW) for name, slope in self.per_layer)

    @property
    def expr(self) -> sympy.Expr:
        return sympy.expand(self.at_base + sum(slope * (symbol(name) - SHALLOW) for name, slope in self.per_layer))


def grouped(kept: tuple[Kept, ...], containers: frozenset[str]) -> dict[Key, list[Kept]]:
    """The storages by group, in the order in which each group's first was made."""
    groups: dict[Key, list[Kept]] = defaultdict(list)
    for one in kept:
        groups[key_of(one, containers)].append(one)
    return dict(groups)


def counts(base: Mapping[K, list[T]], deeper: Mapping[str, Mapping[K, list[T]]]) -> dict[K, Count] | None:
    """How often each key occurs, from the base and one trace per depth symbol with one layer more.

    None where the deeper traces hold something that the base does not: then the layers are not alike.
    """
    for more in deeper.values():
        if any(key not in base for key in more) or any(len(more.get(key, ())) < len(base[key]) for key in base):
            return None
    return {
        key: Count(
            len(members),
            tuple((name, grown) for name, more in deeper.items() if (grown := len(more[key]) - len(members))),
        )
        for key, members in base.items()
    }
