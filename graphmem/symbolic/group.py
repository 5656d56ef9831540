"""Kept storages that differ only in the layer they are in, or in the turn of a loop, counted as one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import sympy

from graphmem.accounts.account import Kept, Ordinal
from graphmem.record.paths import folded
from graphmem.symbolic.curves import symbol

K = TypeVar("K")


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


def key_of(kept: Kept, containers: frozenset[str], *, looped: bool = False) -> Key:
    """The group that `kept` belongs to. `looped`: its line runs several times, so that its number tells nothing."""
    place = kept.place
    in_loop = (f"{place.file}:{place.line}" if place else "", -1)
    return Key(
        kept.table,
        folded(kept.module, containers)[0],
        folded(kept.made_in, containers)[0],
        kept.op.name,
        in_loop if looped else kept.ordinal,
        kept.shape,
        kept.dtype,
        kept.nbytes,
        tuple(sorted(set(kept.keepers))),
    )


class Step(NamedTuple):
    """What a count goes with: a symbol divided by `block`, rounded, less `at_base`, its value at the base point.

    whole: the symbol is always a multiple of the block, so that there is nothing to round.
    """

    name: str
    at_base: int
    block: int = 1
    up: bool = True
    whole: bool = False

    @classmethod
    def from_base(cls, name: str, value: int, block: int, *, up: bool) -> Step:
        return cls(name, _turns(value, block, up=up), block, up)

    def at(self, point: Mapping[str, int]) -> int:
        """How many layers, or turns, there are more than at the base."""
        return _turns(point[self.name], self.block, up=self.up) - self.at_base

    @property
    def expr(self) -> sympy.Expr:
        quotient = symbol(self.name) / self.block
        if self.whole:
            return quotient - self.at_base
        return (sympy.ceiling(quotient) if self.up else sympy.floor(quotient)) - self.at_base


def _turns(value: int, block: int, *, up: bool) -> int:
    return -(-value // block) if up else value // block


def layers(name: str, base: Mapping[str, int], deeper: Mapping[str, int]) -> Step:
    """The step of a symbol that counts layers, from the points of two traces: as many as come again together."""
    period = deeper[name] - base[name]
    return Step(name, base[name] // period, period, whole=True)


# Layers, turns, or turns in every layer: what is multiplied.
Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Count:
    """How many there are: `at_base` at the base point, and so many more with every further step."""

    at_base: int
    slopes: tuple[tuple[Steps, int], ...] = ()

    @property
    def terms(self) -> dict[Steps, int]:
        return {(): self.at_base, **dict(self.slopes)}

    def at(self, point: Mapping[str, int]) -> int:
        """The count at `point`."""
        return sum(n * math.prod(step.at(point) for step in steps) for steps, n in self.terms.items())

    @property
    def expr(self) -> sympy.Expr:
        return sympy.expand(sympy.Add(*(n * sympy.Mul(*(s.expr for s in steps)) for steps, n in self.terms.items())))


def grouped(
    kept: tuple[Kept, ...], containers: frozenset[str], looped: frozenset[int] = frozenset()
) -> dict[Key, list[Kept]]:
    """The storages by group, in the order in which each group's first was made. `looped`: those made in a loop."""
    groups: dict[Key, list[Kept]] = defaultdict(list)
    for one in kept:
        groups[key_of(one, containers, looped=one.storage in looped)].append(one)
    return dict(groups)


def numbers(groups: Mapping[K, Sequence[object]]) -> dict[K, int]:
    """How many there are in each."""
    return {key: len(members) for key, members in groups.items()}


def counts(base: Mapping[K, int], deeper: Mapping[Step, Mapping[K, int]]) -> dict[K, Count] | None:
    """How often each key occurs, from the base and one trace per depth symbol with one step more.

    None where the deeper traces hold something that the base does not: then the layers are not alike.
    """
    for more in deeper.values():
        if more.keys() != base.keys() or any(more[key] < n for key, n in base.items()):
            return None
    return {
        key: Count(n, tuple(((step,), more[key] - n) for step, more in deeper.items() if more[key] > n))
        for key, n in base.items()
    }


def with_turns(
    count: Count, before: Mapping[Step, int], step: Step, turns: int, after: int, deeper: Mapping[Step, int]
) -> Count | None:
    """`count` with what further turns add: `after` are there with `turns` more of them.

    before, deeper: the same with one step more, per depth symbol, at the base's turns and at `turns` more. None where
    a turn adds no whole number.
    """
    slopes = [*count.slopes, ((step,), _per_turn(after - count.at_base, turns))]
    for deep, there in deeper.items():
        more = there - after - (before[deep] - count.at_base)
        slopes.append(((deep, step), _per_turn(more, turns)))
    if any(n is None for _, n in slopes):
        return None
    return Count(count.at_base, tuple((steps, n) for steps, n in slopes if n))


def _per_turn(more: int, turns: int) -> int | None:
    return more // turns if more % turns == 0 else None
