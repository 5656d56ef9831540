"""`Derivation`, and the two stages before it: what traces show (`Probed`), and the formulas proposed (`Proposed`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

import sympy

from graphmem.accounts.account import Account, Kept
from graphmem.points import Point
from graphmem.record import Ref, SdpaCall, Trace
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.bounds import Multiple
from graphmem.symbolic.calls import Shapes, filled, shapes_of
from graphmem.symbolic.curves import evaluate, symbol
from graphmem.symbolic.dims import Dims, agreeing, candidates_of_each
from graphmem.symbolic.group import Count, Key
from graphmem.symbolic.loops import Loop
from graphmem.symbolic.miss import Miss, total
from graphmem.symbolic.whole_parts import whole_parts


@dataclass(frozen=True)
class Group:
    """Storages that differ only in their layer or turn.

    dims: expressions whose product, times `itemsize`, is the bytes of one storage; None where no formula was found.
    """

    key: Key
    members: tuple[Kept, ...]
    count: Count
    dims: Dims | None = None

    @property
    def itemsize(self) -> int:
        return self.members[0].itemsize if self.dense else 1

    @property
    def dense(self) -> bool:
        """Whether `dims` are the dimensions of the tensor; otherwise they are a single number of bytes."""
        return self.members[0].is_dense

    @property
    def lacks(self) -> bool:
        """Whether the account's sum has no formula because of it."""
        return self.dims is None and self.members[0].counted

    @cached_property
    def size(self) -> sympy.Expr:
        """The bytes of one storage: an expression, or the number that was traced."""
        if self.dims is None:
            return sympy.Integer(self.key.nbytes)
        return sympy.expand(sympy.Mul(*self.dims) * self.itemsize)

    def share(self, members: int) -> Group | None:
        """The group with only `members` of its members at the base point, and as large a share of what every further
        layer adds; None where that share is not a whole number."""
        of = len(self.members)
        if any(slope * members % of for _, slope in self.count.slopes):
            return None
        slopes = tuple((repeats, slope * members // of) for repeats, slope in self.count.slopes)
        return replace(self, count=Count(members, slopes))

    def bytes_at(self, point: Point) -> int | None:
        """The bytes of one storage at `point`; None where a dimension is not a whole number there."""
        if self.dims is None:
            return self.key.nbytes
        sizes = [evaluate(dim, point) for dim in self.dims]
        return None if None in sizes else math.prod(sizes) * self.itemsize  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the traces around a base point show, before any formula for a size.

    account: what counts; model_symbols: the symbols that shape the model, and not only its inputs.
    base: the traced point; trace: the trace there; kept: what counts in it.
    depth: symbols that count layers; deeper: for each of them a trace with one layer (or one period) more.
    loops: symbols that count the turns of a loop.
    moved: for every other symbol that moves a size a trace with it alone moved, to its value in `values`.
    turning: the same for symbols that move none: they may move the shapes of attention, on which its kernel depends.
    refused: symbols whose other values run other operators, or do not run: formulas hold for their base value only.
    left_out: those of them that were not tried, since a size that they move has no expression, or they are unclear.
    skipped: those of them that were not tried, because tracing forward often enough would take too long.
    doubtful: symbols that run other operators at some of the values tried.
    follows: symbols that cannot be moved alone, and those with which each moves in proportion.
    groups: what counts, with how often each occurs, and the sizes as traced.
    """

    account: Account
    model_symbols: frozenset[str]
    base: Point
    trace: Trace
    kept: tuple[Kept, ...]
    depth: tuple[str, ...]
    deeper: Mapping[str, Trace]
    loops: Mapping[str, Loop]
    moved: Mapping[str, Aligned]
    turning: Mapping[str, Aligned]
    values: Point
    refused: tuple[str, ...]
    left_out: frozenset[str]
    skipped: tuple[str, ...]
    doubtful: tuple[str, ...]
    follows: Mapping[str, tuple[str, ...]]
    groups: tuple[Group, ...]

    @cached_property
    def periods(self) -> dict[str, int]:
        """Depth symbols, and how many layers make one period: 1 where all are alike, 2 where two kinds take turns."""
        return {d: self.deeper[d].point[d] - self.base[d] for d in self.depth}

    def following(self, name: str) -> sympy.Expr:
        """What a symbol that follows others is, as an expression in them: a, or a h_a."""
        leaders = self.follows[name]
        factor = sympy.Rational(self.base[name], math.prod(self.base[leader] for leader in leaders))
        return sympy.Mul(factor, *(symbol(leader) for leader in leaders))


@dataclass(frozen=True, kw_only=True)
class Proposed(Probed):
    """Formulas that agree with all traces so far, for the sizes in `groups`.

    symbols: those that move a size or a count, depth included. apart: the traces with all symbols of `moved` moved by
    which the formulas were chosen, the first of the held-out points included. untold: pairs of an expression and
    another one that agrees with all of these traces, too.
    """

    symbols: tuple[str, ...]
    apart: tuple[Aligned, ...]
    untold: tuple[tuple[sympy.Expr, sympy.Expr], ...]

    @property
    def lacks(self) -> bool:
        """Whether the sum has no formula, since a size in it has none."""
        return any(group.lacks for group in self.groups)

    @cached_property
    def group_of(self) -> dict[int, Group]:
        """The group of each storage of the base."""
        return {member.storage: group for group in self.groups for member in group.members}

    @cached_property
    def computed(self) -> tuple[sympy.Expr, ...]:
        """Dimensions that are neither a number, nor a symbol or a multiple of one."""
        dims = {d for g in self.groups if g.dense for d in g.dims or ()}
        return tuple(sorted((d for d in dims if not d.as_coeff_Mul()[1].is_Symbol and not d.is_Integer), key=str))

    @cached_property
    def whole_parts(self) -> tuple[sympy.Expr, ...]:
        """Parts of `computed` that are whole numbers wherever the formula holds."""
        single = ({**self.base, name: self.values[name]} for name in self.moved)
        return whole_parts(self.computed, [self.base, *single, *(there.point for there in self.apart)])

    def is_whole(self, point: Point) -> bool:
        """Whether all dimensions, and these parts of them, are whole numbers at `point`."""
        return all(evaluate(dim, point) is not None for dim in (*self.computed, *self.whole_parts))

    @cached_property
    def rounded(self) -> tuple[sympy.Expr, ...]:
        """What is rounded in dimensions: s/32 of 32 ceil(s/32)."""
        dims = {d for g in self.groups for d in g.dims or ()}
        return tuple(sorted({x.args[0] for d in dims for x in d.atoms(sympy.ceiling, sympy.floor)}, key=str))

    @cached_property
    def attentions(self) -> tuple[tuple[SdpaCall, tuple[Dims, ...]], ...]:
        """Calls of scaled_dot_product_attention, with the shapes of q, k, v and the mask as expressions. A dimension
        without an expression is the number that was traced."""
        return tuple(
            (call, tuple(filled(known, getattr(call.facts, name)) for name, known in shapes.items()))
            for call, shapes in zip(self.trace.sdpa, self._shapes, strict=True)
        )

    @cached_property
    def shapeless(self) -> bool:
        """Whether a dimension in `attentions` has no expression, so that it says nothing of other points."""
        return any(None in known for shapes in self._shapes for known in shapes.values())

    @cached_property
    def _shapes(self) -> tuple[Shapes, ...]:
        beside = (*self.moved.values(), *self.turning.values(), *self.apart)
        return shapes_of(self.trace, beside, lambda sizes: self._expressed(sizes, self.turning))

    @property
    def has_kernels(self) -> bool:
        """Whether attention runs a kernel that its sizes decide about."""
        return any(call.facts is not None for call, _ in self.attentions)

    def shape(self, ref: Ref) -> Dims | None:
        """The shape of a tensor as expressions; None where it is not a tensor, or where a dimension has none."""

        def of(there: Aligned) -> Sequence[int] | None:
            op = there.op(ref.op)
            fact = op.outputs[ref.output] if op else None
            return fact.shape if fact else None

        found = self._expressed(of)
        return None if found is None or None in found else tuple(found)

    def _expressed(
        self, sizes: Callable[[Aligned], Sequence[int] | None], further: Mapping[str, Aligned] = MappingProxyType({})
    ) -> list[sympy.Expr | None] | None:
        """For each size that `sizes` reads off a trace the first expression that gives it in every trace; None where
        the traces do not all have the same number of sizes. further: traces with other symbols moved alone."""
        at_base = sizes(Aligned(self.trace, None))
        moved = {**self.moved, **further}
        at_moved = {name: found for name, there in moved.items() if (found := sizes(there)) is not None}
        seen = [(there.point, found) for there in self.apart if (found := sizes(there)) is not None]
        everywhere = [*at_moved.values(), *(found for _, found in seen)]
        whole = len(everywhere) == len(moved) + len(self.apart)
        if at_base is None or not whole or any(len(found) != len(at_base) for found in everywhere):
            return None
        known = sorted(self.computed, key=sympy.count_ops)
        simple = agreeing(candidates_of_each(self.base, self.values, at_base, at_moved, known), seen)
        if None not in simple:
            return simple
        options = candidates_of_each(self.base, self.values, at_base, at_moved, known, roundings=True)
        return agreeing(options, seen)

    def holds(self, trace: Trace) -> bool:
        """Whether the formulas predict exactly what counts in `trace`: every storage, to the byte."""
        return not any(miss.counted for miss in self.misses(trace))

    def misses(self, trace: Trace) -> tuple[Miss, ...]:
        """The tables in which `trace` has other storages than the formulas predict."""
        tables: dict[str, list[Counter[int]]] = {}
        for group in self.groups:
            foretold, _ = tables.setdefault(group.key.table, [Counter(), Counter()])
            foretold[-1 if (size := group.bytes_at(trace.point)) is None else size] += group.count.at(trace.point)
        counted = {g.key.table for g in self.groups if g.members[0].counted}
        for kept in self.account(trace):
            tables.setdefault(kept.table, [Counter(), Counter()])[1][kept.nbytes] += 1
            counted |= {kept.table} if kept.counted else set()
        return tuple(
            Miss(trace.point, table, table in counted, sum(size * n for size, n in there.items()), total(+foretold))
            for table, (foretold, there) in tables.items()
            if +foretold != there
        )


@dataclass(frozen=True, kw_only=True)
class Derivation(Proposed):
    """Formulas with the verdict of points that nothing was derived from: everything that a report is made of.

    proofs: the held-out points; empty where none could be traced. exact: every size there came out to the byte.
    missed: the first point where that was not so, if every size has an expression, and what was foretold there.
    multiples: for which multiples only the formulas hold. unclear: symbols for whose other values they may not.
    ones: quotients of sizes with which the formulas hold where they are 1, too.
    """

    proofs: tuple[Point, ...]
    exact: bool
    missed: Miss | None
    multiples: tuple[Multiple, ...]
    unclear: tuple[str, ...]
    ones: frozenset[sympy.Expr] = frozenset()

    @property
    def fixed(self) -> tuple[str, ...]:
        """Symbols for whose base value only the formula holds."""
        return (*self.refused, *self.unclear)

    @property
    def layers(self) -> dict[str, int]:
        """Depth symbols, and with how many layers at most the formula was derived or proved."""
        points = [*(t.point for t in self.deeper.values()), *(self.proofs if self.exact else ())]
        return {d: max(point[d] for point in points) for d in self.depth}

    @property
    def is_clear(self) -> bool:
        """Whether the formula is proved, for every symbol in it."""
        return self.exact and not self.unclear


Stage = TypeVar("Stage", bound=Probed)


def stage(of: type[Stage], before: Probed, **found: Any) -> Stage:
    """The next stage: it knows what is known at the stage `before`, but for what was `found` since."""
    return of(**{**{field.name: getattr(before, field.name) for field in fields(before)}, **found})
