"""Storages that differ only in their layer, or in the turn of a loop: one `Key` for all, and a `Count` of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import sympy

from graphmem.accounts.account import Kept, Ordinal
from graphmem.record import Op
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
    """The group that `kept` belongs to. looped: its line runs several times, so its ordinal does not tell it apart."""
    place, op = kept.place, kept.op
    in_loop = (f"{place.file}:{place.line}" if place else "", -1)
    return Key(
        kept.table,
        folded(kept.module, containers)[0],
        folded(kept.made_in, containers)[0],
        _name(op, containers),
        in_loop if looped else kept.ordinal,
        kept.shape,
        kept.dtype,
        kept.nbytes,
        tuple(sorted(set(kept.keepers))),
    )


def _name(op: Op, containers: frozenset[str]) -> str:
    """The operator; or what was there before forward, without the number of its layer (h.3.bias) or its own."""
    if op.kind == "call":
        return op.name
    return op.kind if op.kind == "constant" else folded(op.name, containers)[0]


class Repeat(NamedTuple):
    """A unit of repetition, one more layer or one more turn of a loop, of which symbol `name` says how many there are.

    Their number is the symbol divided by `block`, rounded `up` or down; it is counted from the base point, where there
    are `at_base`. whole: the symbol is always a multiple of the block, so there is nothing to round.
    """

    name: str
    at_base: int
    block: int = 1
    up: bool = True
    whole: bool = False

    @classmethod
    def from_base(cls, name: str, value: int, block: int, *, up: bool) -> Repeat:
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


def layers(name: str, base: Mapping[str, int], deeper: Mapping[str, int]) -> Repeat:
    """The repeat of a symbol that counts layers, from the points of two traces: their difference is one period."""
    period = deeper[name] - base[name]
    return Repeat(name, base[name] // period, period, whole=True)


# The numbers of these are multiplied: layers, turns, or turns in every layer.
Repeats = tuple[Repeat, ...]


@dataclass(frozen=True)
class Count:
    """How many there are: `at_base` at the base point, and for each of `slopes` so many more with every repeat more."""

    at_base: int
    slopes: tuple[tuple[Repeats, int], ...] = ()

    @property
    def terms(self) -> dict[Repeats, int]:
        return {(): self.at_base, **dict(self.slopes)}

    def at(self, point: Mapping[str, int]) -> int:
        """The count at `point`."""
        return sum(n * math.prod(repeat.at(point) for repeat in repeats) for repeats, n in self.terms.items())

    @property
    def expr(self) -> sympy.Expr:
        return sympy.expand(
            sympy.Add(*(n * sympy.Mul(*(r.expr for r in repeats)) for repeats, n in self.terms.items()))
        )


def grouped(
    kept: tuple[Kept, ...], containers: frozenset[str], looped: frozenset[int] = frozenset()
) -> dict[Key, list[Kept]]:
    """The storages by group, in the order in which the first of each was made. looped: those made in loops."""
    groups: dict[Key, list[Kept]] = defaultdict(list)
    for one in kept:
        groups[key_of(one, containers, looped=one.storage in looped)].append(one)
    return dict(groups)


def numbers(groups: Mapping[K, Sequence[object]]) -> dict[K, int]:
    """How many members each group has."""
    return {key: len(members) for key, members in groups.items()}


def counts(base: Mapping[K, int], deeper: Mapping[Repeat, Mapping[K, int]]) -> dict[K, Count] | None:
    """How often each key occurs, from the base and from one trace per depth symbol with one repeat more.

    None where the deeper traces hold something that the base does not, or less of something: then layers are not alike.
    """
    for more in deeper.values():
        if more.keys() != base.keys() or any(more[key] < n for key, n in base.items()):
            return None
    return {
        key: Count(n, tuple(((repeat,), more[key] - n) for repeat, more in deeper.items() if more[key] > n))
        for key, n in base.items()
    }


def with_turns(
    count: Count, before: Mapping[Repeat, int], repeat: Repeat, turns: int, after: int, deeper: Mapping[Repeat, int]
) -> Count | None:
    """`count` with what further turns of a loop add: with `turns` more of them there are `after`.

    before, deeper: how many there are with one layer more, per depth symbol: with the base's turns, and with `turns`
    more. None where one turn does not add a whole number.
    """
    slopes = [*count.slopes, ((repeat,), _per_turn(after - count.at_base, turns))]
    for deep, there in deeper.items():
        more = there - after - (before[deep] - count.at_base)
        slopes.append(((deep, repeat), _per_turn(more, turns)))
    if any(n is None for _, n in slopes):
        return None
    return Count(count.at_base, tuple((repeats, n) for repeats, n in slopes if n))


def _per_turn(more: int, turns: int) -> int | None:
    return more // turns if more % turns == 0 else None
