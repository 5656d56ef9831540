"""`find_bounds`: within which lengths a formula holds. A window, for example, cuts off only what is longer than it.

One far point on either side tells whether there is a bound at all. To find it, the model's integers are tried first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphmem.errors import GraphmemError, ModelError, SymbolError
from graphmem.points import Point, off_by
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.tracer import TraceAt

# A far point is FAR times as long, and made odd by this pattern of bits: no block or window has such a length.
FAR, _ODD = 8, 37
# A symbol with smaller values than this counts a few things: it is not taken for a length, and has no far points.
_LENGTH = 16
# A symbol of the model with larger values than this counts no heads, experts or groups: whether 1 differs is not tried.
_HEADS = 64
# Limits are round: 4096 has one bit, 1536 two.
_ROUND_BITS = 2
_AS_FOUND: Point = {}


class Bound(NamedTuple):
    """The last value of symbol `name` at which a formula holds, downwards or `up`.

    by: the model's integer that the bound equals, or is off by `beside`; "" where there is none.
    refused: beyond the bound the model itself raises an error.
    """

    name: str
    value: int
    up: bool
    by: str = ""
    beside: int = 0
    refused: bool = False

    @property
    def from_two(self) -> bool:
        """Whether it excludes 1, and nothing else."""
        return not self.up and self.value == 2

    def at(self, point: Point) -> int:
        """The bound's value at `point`: one that equals an integer of the model moves with that."""
        return point[self.by] + self.beside if self.by in point else self.value

    def keeps_out(self, point: Point) -> bool:
        """Whether the formula does not hold at `point`."""
        return point[self.name] > self.at(point) if self.up else point[self.name] < self.at(point)

    def text(self, point: Point) -> str:
        """`s <= 512 (P)`: the bound as it is at `point`."""
        moves = f" ({off_by(self.by, self.beside)})" if self.by else ""
        return f"{self.name} {'<=' if self.up else '>='} {self.at(point)}{moves}"


class Multiple(NamedTuple):
    """The formula holds where symbol `name` is a multiple of `of`: rows of a mask that need no padding, for example."""

    name: str
    of: int

    def keeps_out(self, point: Point) -> bool:
        """Whether the formula does not hold at `point`."""
        return point[self.name] % self.of != 0

    def text(self, _point: Point) -> str:
        """`s a multiple of 8`."""
        return f"{self.name} a multiple of {self.of}"


def find_bounds(tracer: TraceAt, derived: Derivation, working: Point) -> tuple[Bound | Multiple, ...]:
    """The bounds of input lengths, and whether a size of 1 is excluded, for a derivation that is proved."""
    found: list[Bound | Multiple] = []
    base = _shallow(tracer, derived)
    long = _all_long(tracer, derived, base)
    for name in derived.symbols:
        if name in derived.depth or name in derived.loops:
            continue
        holds = _Holds(tracer, derived, base, name)
        known = sorted({derived.base[name], working[name], *(p[name] for p in derived.proofs)})
        length = known[0] >= _LENGTH and name not in derived.model_symbols
        if length:
            found += _of_length(holds, known, long=long)
        elif name in derived.model_symbols and known[0] > _HEADS:
            continue
        elif name not in derived.model_symbols and not long:
            found += filter(None, [_bound(holds, known[-1], FAR * known[-1] | _ODD, 1)])
        if known[0] > 1 and not any(b.keeps_out({**working, name: 1}) for b in found) and holds.at(1) is False:
            found.append(Bound(name, _least(holds) if length else 2, up=False, refused=holds.refuses(1)))
    moving = {b.by for b in found if isinstance(b, Bound)}
    return (*found, *(b for b in _of_model_sizes(tracer, derived, base) if b.name not in moving))


def _of_model_sizes(tracer: TraceAt, derived: Derivation, base: Point) -> Iterator[Bound]:
    """Where sizes of the model, all together or one alone, are so large or so small that the formula does not hold: a
    window that is wider than the input, a width that is capped."""
    apart = (*derived.depth, *derived.loops, *derived.follows, *derived.refused)
    names = [n for n in derived.values if n in derived.model_symbols and n not in apart]
    for up in (True, False):
        far = {n: base[n] * FAR if up else base[n] // FAR for n in names if up or base[n] % FAR == 0}
        if not far or _holds(tracer, derived, {**base, **far}) is not False or _refuses(tracer, {**base, **far}):
            continue
        for name, value in far.items():
            holds = _Holds(tracer, derived, base, name)
            if value > 1 and holds.at(value) is False and holds.runs_alike(value):
                step = 1 if holds.at(base[name] + 1) else min(value, base[name])
                bound = _bound(holds, base[name], value, step)
                if bound is not None:
                    yield bound


def _least(holds: _Holds) -> int:
    """The least length at which the formula holds, where it does not hold at 1: a size of 1 broadcasts and needs no
    copies, and a shift by one leaves one position of two."""
    return next((value for value in range(2, _LENGTH) if holds.at(value) is not False), _LENGTH)


def _shallow(tracer: TraceAt, derived: Derivation) -> Point:
    """The base with one layer of each kind, if that keeps all that more layers keep: half the operators to trace."""
    shallow = {**derived.base, **derived.periods}
    made = [
        {(g.key.made_in, g.key.op, g.size) for g in derived.groups if g.count.at(point) > 0}
        for point in (derived.base, shallow)
    ]
    try:
        alike = derived.depth and made[0] == made[1] and derived.holds(tracer(shallow))
    except GraphmemError:  # the model may not run with a single layer: then the base is used as it is
        alike = False
    return shallow if alike else derived.base


def _all_long(tracer: TraceAt, derived: Derivation, base: Point) -> bool:
    """Whether the formula holds where all inputs are long: then none of them has an upper bound."""
    names = [n for n in derived.symbols if not {n} & {*derived.model_symbols, *derived.depth, *derived.loops}]
    far = {n: FAR * max(base[n], *(p[n] for p in derived.proofs)) | _ODD for n in names}
    return bool(names) and _holds(tracer, derived, {**base, **far}) is True


def _holds(tracer: TraceAt, derived: Derivation, point: Point) -> bool | None:
    """Whether the model runs at `point`, and the formula holds there; None where graphmem cannot tell."""
    try:
        return derived.holds(tracer(point))
    except (ModelError, SymbolError):
        return False
    except GraphmemError:  # an operator without a fake kernel, say: the limit is graphmem's, not the model's
        return None


def _refuses(tracer: TraceAt, point: Point) -> bool:
    """Whether the model raises there."""
    try:
        tracer(point)
    except GraphmemError as error:
        return isinstance(error, (ModelError, SymbolError))
    return False


def _of_length(holds: _Holds, known: list[int], *, long: bool) -> list[Bound | Multiple]:
    # If all lengths so far were even, for example, that proves nothing for odd ones.
    base = holds.base[holds.name]
    step = math.gcd(holds.derived.values.get(holds.name, base), *known)
    aligned = step > 1 and holds.at(base + 1) is False
    low, high = max(known[0] // FAR, 2), FAR * known[-1]
    if aligned:
        low, high = max(low // step, 1) * step, high // step * step
    else:
        step, low, high = 1, low | 1, high | _ODD
    ends = _bound(holds, known[0], low, step), None if long else _bound(holds, known[-1], high, step)
    return [*(bound for bound in ends if bound is not None), *([Multiple(holds.name, step)] if aligned else [])]


class _Holds(NamedTuple):
    """Asks whether the model runs with symbol `name` of `base` moved, and whether the formula holds there."""

    tracer: TraceAt
    derived: Derivation
    base: Point
    name: str

    def at(self, value: int, **others: int) -> bool | None:
        """None where graphmem cannot tell."""
        return _holds(self.tracer, self.derived, {**self.base, **others, self.name: value})

    def runs_alike(self, value: int) -> bool:
        """Whether the model runs there, with the kernels of the base: another kernel is noticed without a bound."""
        try:
            there, here = self.tracer({**self.base, self.name: value}), self.tracer(self.base)
        except GraphmemError:
            return False
        return [c.backend for c in there.sdpa] == [c.backend for c in here.sdpa]

    def refuses(self, value: int) -> bool:
        """Whether the model raises there."""
        return _refuses(self.tracer, {**self.base, self.name: value})


def _bound(holds: _Holds, known: int, far: int, step: int) -> Bound | None:
    """The last value towards `far` at which the formula holds and the model runs; None if both are so at `far`, too."""
    if far == known or holds.at(far) is not False:
        return None
    up, inside, outside = far > known, known, far
    if holds.at(known) is False:  # a held-out point has other sizes of the model too, and may be longer for that
        inside, outside = holds.base[holds.name], known
    on = step if up else -step
    sizes = {v for n, v in holds.base.items() if n in holds.derived.model_symbols}
    for value in sorted(sizes, reverse=not up):
        for last in (value, value - on):
            if last % step or not min(inside, outside) < last < max(inside, outside):
                continue
            if not holds.at(last):
                outside = last
            elif holds.at(last + on) is False:
                return Bound(holds.name, last, up, *_cause(holds, value, last, on), refused=holds.refuses(last + on))
            else:
                inside = last
    last = _last(holds, inside // step, outside // step, step)
    return Bound(holds.name, last, up, refused=holds.refuses(last + on * step))


def _last(holds: _Holds, inside: int, outside: int, step: int) -> int:
    """The last multiple of `step` at which the formula holds; it holds at `inside` steps, and not at `outside` steps.

    By bisection, but at round numbers: a limit is usually round, or one off.
    """
    while abs(outside - inside) > 1:
        middle = _roundest(inside, outside)
        on = 1 if outside > inside else -1
        held = holds.at(middle * step)
        inside, outside = (middle, outside) if held else (inside, middle)
        near = max(inside, outside) <= 2 * min(inside, outside)
        if near and middle.bit_count() <= _ROUND_BITS and abs(outside - inside) > 1:
            beside = middle + on if held else middle - on
            inside, outside = (beside, outside) if holds.at(beside * step) else (inside, beside)
    return inside * step


def _roundest(one: int, other: int) -> int:
    """The number strictly between the two that is divisible by the highest power of 2."""
    low, high = sorted((one, other))
    power = 1 << (high - low).bit_length()
    while (high - 1) // power == low // power:
        power //= 2
    return (high - 1) // power * power


def said_of(bounds: Sequence[Bound | Multiple], point: Point = _AS_FOUND) -> str:
    """A sentence for the user: where a formula holds, with the bounds as they are at `point` or else as they were
    found, and what happens elsewhere."""
    refused = [isinstance(b, Bound) and b.refused for b in bounds]
    kept = () if all(refused) else ("other sizes are kept",)
    raises = ("the model raises an error",) if any(refused) else ()
    return (
        f"the formula holds for {', '.join(b.text(point) for b in bounds)}; elsewhere {', or '.join((*kept, *raises))}"
    )


def _cause(holds: _Holds, value: int, last: int, on: int) -> tuple[str, int]:
    """The model's integer with which the bound moves, and how far off it is: with another value of that integer, the
    formula holds beyond the bound."""
    for name in [n for n, v in holds.base.items() if v == value and n in holds.derived.model_symbols]:
        moved = 2 * value if on > 0 else value // 2
        if holds.at(last + on, **{name: moved}):
            return name, last - value
    return "", 0
