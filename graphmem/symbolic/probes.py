"""`Probes`: finds traces at other points that correspond to a base trace, and reads off what is compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphmem.accounts.account import Kept
from graphmem.errors import GraphmemError
from graphmem.points import Key, Point, key
from graphmem.record import Trace
from graphmem.symbolic.align import Aligned, Base, sizes_of
from graphmem.symbolic.group import Repeat
from graphmem.symbolic.loops import Turning
from graphmem.symbolic.points import COUNTS, FAR, held_out, moves
from graphmem.symbolic.problem import Problem
from graphmem.symbolic.single import MoreLayersNeededError, Single

# Two longer inputs show whether a count grows with them. To tell what one turn is, so many further ones are tried.
ENOUGH_TURNS, MOST_QUESTIONS = 2, 5
_FEWEST = 8  # a model's limit on its inputs is not smaller than this
_TOGETHER = 3  # values tried for a pair of symbols: half, twice, three times
# How many operators may be traced to move symbols alone, and then how many more to move all of them: some ten seconds,
# which only a forward with thousands of operators a layer needs.
EXPLORED, PROVING = 40_000, 40_000
LOOKING = 100_000  # and so many for points beside the base: what they show is not optional


class Probes:
    """Finds traces around that of `base`, or around one with a `single` layer of each kind.

    values: what each symbol was moved to. follows: symbols that cannot be moved alone, and those with which each moves
    in proportion. repeats: symbols that count the turns of a loop, what one turn is, and a trace with more turns.
    doubtful: symbols that run other operators at some of the values tried. skipped: symbols that were not moved, since
    no more operators may be traced.
    """

    def __init__(self, problem: Problem, base: Base, single: Single | None = None) -> None:
        self._tracer, self._single, self._beside = problem.tracer, single, single.base if single else base
        self._align = single.align if single else base.align
        self.trace, self.kept, self.base = base.trace, base.kept, dict(self._beside.trace.point)
        self.model_symbols = problem.model_symbols
        self.values: dict[str, int] = {}
        self.follows: dict[str, list[str]] = {}
        self.repeats: dict[str, tuple[Repeat, Trace]] = {}
        self.doubtful: list[str] = []
        self.skipped: list[str] = []
        self._spent, self._limit = 0, EXPLORED
        self._looked, self._paid, self._traced = 0, False, set[Key]()

    def moved(self, name: str) -> Aligned | None:
        """A trace with `name` alone moved: to the first value that runs the same operators, or more turns of a loop."""
        more: list[Trace] = []
        for value in moves(self.base[name], shapes_model=name in self.model_symbols):
            if not self.affordable():
                self.skipped.append(name)
                return None
            trace = self.at({**self.base, name: value})
            if trace is not None and trace.point[name] != value:
                continue  # the inputs need more of it
            found = self._align(trace) if trace else None
            if found is not None:
                self.values[name] = value
                return found
            if trace is not None:
                self.doubtful.append(name)
                more += (
                    [trace] if value > self.base[name] else []
                )  # with fewer turns, a loop may have a first and a last one only
            if len(more) == ENOUGH_TURNS:
                turned = self._turned(name, more)
                if turned is not None:
                    return turned
        return None

    def far(self, names: list[str]) -> dict[str, Aligned]:
        """Traces with a size of the model far larger whose own probe had moved nothing: a vocabulary of 256 that is
        padded to 512 is so until 513."""
        names = [n for n in names if n in self.model_symbols and self.base[n] > COUNTS]
        points = {n: {**self.base, n: FAR * self.base[n] + 1} for n in names}
        if len(names) > 1:
            together = self.aligned_at({**self.base, **{n: point[n] for n, point in points.items()}})
            if together is not None and not self.moves_something(together):
                return {}
        found = {n: there for n, point in points.items() if (there := self.aligned_at(point)) is not None}
        found = {n: there for n, there in found.items() if self.moves_something(there)}
        self.values |= {n: points[n][n] for n in found}
        return found

    def _turned(self, name: str, more: list[Trace]) -> Aligned | None:
        """The first trace of `more`, if a loop runs more turns there; further traces show what one turn is."""
        turning = Turning.seen(name, self._beside, more)
        if turning is not None and self._single is not None:
            raise MoreLayersNeededError
        for _ in range(MOST_QUESTIONS):
            value = turning.telling() if turning else None
            trace = self.at({**self.base, name: value}) if value else None
            if trace is None:
                break
            turning = Turning.seen(name, self._beside, [*more, trace])
            more = [*more, trace]
        if turning is None or not turning.repeats:
            return None
        self.repeats[name], self.values[name] = (turning.repeats[0], more[0]), more[0].point[name]
        return self._align(more[0], loops=True)

    def moved_together(self, name: str, other: str) -> Aligned | None:
        """The same with `other` moved by the same factor; from then on `other` follows `name`."""
        leaders = self.follows.setdefault(other, [])
        leaders.append(name)
        for value in moves(self.base[name], shapes_model=True)[:_TOGETHER]:
            found = self.aligned_at({**self.base, name: value}) if self.affordable() else None
            if found is not None:
                self.values[name] = value
                return found
        leaders.remove(name)
        if not leaders:
            del self.follows[other]
        return None

    def apart(self, moved: Point, *, near: bool) -> Iterator[Aligned]:
        """Traces with all symbols of `moved` moved, to values that no probe had. near: inputs get little longer."""
        self._limit = EXPLORED + PROVING
        full = [n for n in moved if self._is_full(n)]
        for point in held_out(self.base, moved, self.model_symbols, loops=self.repeats, full=full, near=near):
            found = self.aligned_at(point) if self.affordable() else None
            if found is not None:
                yield found

    def _is_full(self, name: str) -> bool:
        """Whether an input is about as long as the model accepts: longer ones were refused."""
        known, value = self.base[name], self.values.get(name, 0)
        return name not in self.model_symbols and name not in self.doubtful and _FEWEST <= value < known

    def at(self, point: Point) -> Trace | None:
        """The trace at `point`; None where the model refuses it."""
        complete = following(point, self.base, self.follows)
        if complete is None:
            return None
        free = self._paid and key(complete) in self._traced
        self._traced.add(key(complete))
        try:
            trace = self._tracer(complete)
        except GraphmemError:
            self._spent += len(self.trace.ops)
            return None
        self._spent += 0 if free else len(trace.ops)
        return trace

    @property
    def kernels(self) -> list[str | None]:
        """Those of attention in what is traced at the base: of a single layer, where one stands for all."""
        return self._beside.trace.kernels

    @contextmanager
    def looking(self) -> Iterator[None]:
        """In the block traces are paid for apart, each once."""
        kept = self._spent, self._limit
        self._spent, self._limit, self._paid = self._looked, LOOKING, True
        try:
            yield
        finally:
            self._looked = self._spent
            self._spent, self._limit, self._paid = *kept, False

    def affordable(self) -> bool:
        """Whether one more trace may be made."""
        return self._spent + len(self.trace.ops) <= self._limit

    def dims(self, aligned: Aligned, kept: Kept) -> list[int]:
        """The sizes of `kept` that need expressions, in `aligned`."""
        return sizes_of(kept, self.trace, aligned)

    def moves_something(self, aligned: Aligned) -> bool:
        """Whether any size in it differs from the base's."""
        at_base = Aligned(self.trace, None)
        return any(self.dims(aligned, k) != self.dims(at_base, k) for k in self.kept)

    def aligned_at(self, point: Point) -> Aligned | None:
        """The trace at `point` beside the base; None where the model refuses it, or keeps something else."""
        trace = self.at(point)
        return None if trace is None else self.aligned(trace)

    def aligned(self, trace: Trace) -> Aligned | None:
        """`trace` beside the base; None where it keeps something else."""
        return self._align(trace, loops=bool(self.repeats))


def following(point: Point, base: Point, follows: dict[str, list[str]]) -> Point | None:
    """`point` with the symbols that follow others moved in proportion; None where that does not give integers."""
    complete = dict(point)
    for name, leaders in follows.items():
        value, of = base[name], 1
        for leader in leaders:
            value, of = value * point[leader], of * base[leader]
        if value % of:
            return None
        complete[name] = value // of
    return complete
