"""Loops: a symbol may say how often a line runs, as in a scan over positions, or over chunks of 64 of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from graphmem.accounts.account import Kept
from graphmem.record import Trace
from graphmem.symbolic.align import Base, Line, by_line, by_shape, turns_of
from graphmem.symbolic.group import Count, Key, Repeat, counts, grouped, key_of, layers, numbers, with_turns

K = TypeVar("K")
# How many positions, or layers, one turn takes: one, or the usual sizes of blocks and periods of patterns.
_BLOCKS = (1, 64, 128, 256, 32, 16, 512, 8, 4, 2, 1024, 3, 6, 5, 7, 12)


@dataclass(frozen=True)
class Loop:
    """A loop: its `repeat`, a trace with more turns than the base, and per depth symbol one with a layer more, too."""

    repeat: Repeat
    trace: Trace
    deeper: Mapping[str, Trace]

    @cached_property
    def turns(self) -> int:
        """How many turns `trace` has more than the base."""
        return self.repeat.at(self.trace.point)


Growth = dict[tuple[Line, int], int]


@dataclass(frozen=True)
class Turning:
    """How symbol `name` makes lines run more often.

    here: its value at the base. growths: for other values, how many storages more than at the base each line keeps.
    """

    name: str
    here: int
    growths: Mapping[int, Growth]

    @classmethod
    def seen(cls, name: str, base: Base, others: Sequence[Trace]) -> Turning | None:
        """From traces that differ from the base in `name`. None where a line has no counterpart, or no line grows."""
        growths: dict[int, Growth] = {}
        for trace in others:
            turns = turns_of(base.lines, by_line(trace, base.account(trace)))
            if turns is None:
                return None
            growths[trace.point[name]] = {key: len(theirs) - len(mine) for key, (mine, theirs) in turns.items()}
        grows = any(any(growth.values()) for growth in growths.values())
        return cls(name, base.trace.point[name], growths) if grows else None

    @property
    def repeats(self) -> list[Repeat]:
        """What one turn may be: with it, every line grows by a whole number per turn, the same at all values."""
        repeats = [Repeat.from_base(self.name, self.here, block, up=up) for block in _BLOCKS for up in (True, False)]
        # In blocks of one there is nothing to round.
        return [repeat for repeat in repeats if (repeat.up or repeat.block > 1) and self._is_steady(repeat)]

    def telling(self) -> int | None:
        """A value of the symbol that tells the `repeats` apart; None where no value nearby does."""
        repeats = self.repeats
        for value in range(self.here + 1, 3 * self.here + 2 * max(s.block for s in repeats) if len(repeats) > 1 else 0):
            if value not in self.growths and len({self._predicted(repeat, value) for repeat in repeats}) > 1:
                return value
        return None

    def _turns(self, repeat: Repeat, value: int) -> int:
        return repeat.at({self.name: value})

    def _is_steady(self, repeat: Repeat) -> bool:
        slopes: dict[tuple[Line, int], set[tuple[int, int]]] = {}
        for value, growth in self.growths.items():
            turns = self._turns(repeat, value)
            if not turns and any(growth.values()):
                return False
            for key, added in growth.items() if turns else ():
                slopes.setdefault(key, set()).add(divmod(added, turns))
        return all(len(s) == 1 and not rest and slope >= 0 for s in slopes.values() for slope, rest in s)

    def _predicted(self, repeat: Repeat, value: int) -> int:
        """How many storages more all lines together would keep at `value`."""
        seen = next(v for v in self.growths if self._turns(repeat, v))
        return sum(self.growths[seen].values()) // self._turns(repeat, seen) * self._turns(repeat, value)


def tally(
    trace: Trace,
    deeper: Mapping[str, Trace],
    loops: Mapping[str, Loop],
    groups: Callable[[Trace], Mapping[K, Sequence[object]]],
) -> dict[K, Count] | None:
    """How often each of `groups` occurs, in layers and in turns. None where layers or turns are not alike."""
    repeats = {d: layers(d, trace.point, t.point) for d, t in deeper.items()}
    base, more = numbers(groups(trace)), {repeats[d]: numbers(groups(t)) for d, t in deeper.items()}
    found = counts(base, more)
    if found is None:
        return None
    for loop in loops.values():
        after, deep = numbers(groups(loop.trace)), {repeats[d]: numbers(groups(t)) for d, t in loop.deeper.items()}
        if any(there.keys() != base.keys() for there in (after, *deep.values())):
            return None
        for key, count in found.items():
            before, further = {d: more[d][key] for d in more}, {d: deep[d][key] for d in deep}
            turned = with_turns(count, before, loop.repeat, loop.turns, after[key], further)
            if turned is None:
                return None
            found[key] = turned
    return found


@dataclass(frozen=True)
class Looped:
    """What the base keeps, by group, where some of its lines run several times in `loops`."""

    base: Base
    loops: Mapping[str, Loop]

    @cached_property
    def _turning(self) -> dict[tuple[Line, int], list[Kept]]:
        """The base's storages by line and shape, for lines that run more often in a trace of one of the loops."""
        found: dict[tuple[Line, int], list[Kept]] = {}
        for loop in self.loops.values():
            turns = turns_of(self.base.lines, by_line(loop.trace, self.base.account(loop.trace))) or {}
            lines = {line for (line, _), (mine, theirs) in turns.items() if len(mine) != len(theirs)}
            found |= {(line, i): mine for line in lines for i, mine in enumerate(by_shape(self.base.lines[line]))}
        return found

    def groups(self, trace: Trace) -> dict[Key, list[Kept]]:
        """The storages, by group, of a trace with as many turns as the base."""
        kept = self.base.account(trace)
        lines = {line for line, _ in self._turning}
        made = by_line(trace, kept) if lines else {}
        inside = frozenset(k.storage for line in lines for k in made.get(line, ()))
        return grouped(kept, trace.containers, inside)

    @cached_property
    def members(self) -> dict[Key, list[Kept]]:
        """The storages of the base by group."""
        return self.groups(self.base.trace)

    def _turned(self, trace: Trace, unturned: Mapping[Key, list[Kept]]) -> dict[Key, list[Kept]]:
        """The storages, by group, of a trace with more turns; `unturned` are those of one with the base's turns.

        The shapes in it differ from the base's, so the groups are found by line, and have the base's keys.
        """
        lines = by_line(trace, self.base.account(trace))
        containers = self.base.trace.containers
        keys = {place: key_of(made[0], containers, looped=True) for place, made in self._turning.items()}
        groups = {**unturned, **{key: [] for key in keys.values()}}
        for (line, i), key in keys.items():
            shapes = by_shape(lines.get(line, []))
            groups[key] += shapes[i] if i < len(shapes) else []
        return groups

    def counts(self, deeper: Mapping[str, Trace]) -> dict[Key, Count] | None:
        """How often each group occurs. None where layers or turns are not alike."""
        unturned = {d: self.groups(t) for d, t in deeper.items()}
        by_trace = {id(self.base.trace): self.members, **{id(deeper[d]): groups for d, groups in unturned.items()}}
        for loop in self.loops.values():
            by_trace[id(loop.trace)] = self._turned(loop.trace, self.members)
            by_trace |= {id(t): self._turned(t, unturned[d]) for d, t in loop.deeper.items()}
        return tally(self.base.trace, deeper, self.loops, lambda trace: by_trace[id(trace)])
