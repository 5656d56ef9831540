"""What a derivation comes to: an expression for every storage that is alive, how often each is there, and the proof."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import sympy

from graphmem.accounts.account import Kept
from graphmem.accounts.saved import sort_storages
from graphmem.points import Point
from graphmem.record import Ref, SdpaCall, Trace
from graphmem.symbolic.align import Aligned
from graphmem.symbolic.curves import evaluate, symbol
from graphmem.symbolic.dims import Dims, agreeing, fitting
from graphmem.symbolic.group import Count, Key
from graphmem.symbolic.loops import Loop


@dataclass(frozen=True)
class Group:
    """Storages alike but for their layer.

    dims: expressions whose product, times `itemsize`, is one storage's bytes; None where none was proved.
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
        """`dims` are the dimensions of the tensor; otherwise they are a single number of bytes."""
        return self.members[0].is_dense

    @cached_property
    def size(self) -> sympy.Expr:
        """One storage's bytes: an expression, or the number that was traced."""
        if self.dims is None:
            return sympy.Integer(self.key.nbytes)
        return sympy.expand(sympy.Mul(*self.dims) * self.itemsize)

    def share(self, members: int) -> Group | None:
        """The group with so many of its members at the base point, and as many of what every further layer adds; None
        where that is no whole number."""
        of = len(self.members)
        if any(slope * members % of for _, slope in self.count.slopes):
            return None
        slopes = tuple((steps, slope * members // of) for steps, slope in self.count.slopes)
        return replace(self, count=Count(members, slopes))

    def bytes_at(self, point: Mapping[str, int]) -> int | None:
        """One storage's bytes at `point`; None where the expression gives no whole number of bytes there."""
        return evaluate(self.size, point)


@dataclass(frozen=True)
class Derivation:
    """Everything the report is made of.

    base: the traced point; depth: its symbols that count layers; loops: those that count turns of loops; symbols: those
    that move a size, depth included.
    refused: integers whose other values run other operators, or none at all: the formula is for their base value.
    skipped: those of them that were not tried, since tracing forward often enough would take too long.
    doubtful: symbols some values of which run other operators.
    follows: integers that have no other values of their own, and those that they go with, in proportion.
    proofs: the held-out points; none where none could be traced. exact: every size there came out to the byte.
    moved: a trace for every symbol in `symbols` but depth, with that alone moved to `values`; apart: traces with all of
    them moved. model_symbols: those that shape the model, and not only its inputs.
    """

    base: Point
    trace: Trace
    deeper: Mapping[str, Trace]
    loops: Mapping[str, Loop]
    kept: tuple[Kept, ...]
    groups: tuple[Group, ...]
    depth: tuple[str, ...]
    symbols: tuple[str, ...]
    refused: tuple[str, ...]
    skipped: tuple[str, ...]
    doubtful: tuple[str, ...]
    follows: Mapping[str, tuple[str, ...]]
    proofs: tuple[Point, ...]
    exact: bool
    moved: Mapping[str, Aligned]
    values: Point
    apart: tuple[Aligned, ...]
    model_symbols: frozenset[str]

    @cached_property
    def periods(self) -> dict[str, int]:
        """Depth symbols, and how many layers come again together: 2 where two kinds take turns."""
        return {d: self.deeper[d].point[d] - self.base[d] for d in self.depth}

    @cached_property
    def group_of(self) -> dict[int, Group]:
        """The group of each storage of the base."""
        return {member.storage: group for group in self.groups for member in group.members}

    @cached_property
    def attentions(self) -> tuple[tuple[SdpaCall, tuple[Dims, ...]], ...]:
        """Calls of scaled_dot_product_attention, with the shapes of q, k, v and the mask as expressions."""
        return tuple(
            (call, tuple(self._shape_in_call(i, name) for name in ("q", "k", "v", "mask_shape")) if call.facts else ())
            for i, call in enumerate(self.trace.sdpa)
        )

    def _shape_in_call(self, index: int, name: str) -> Dims:
        """A dimension without an expression is the number that was traced."""
        call = self.trace.sdpa[index]
        traced: tuple[int, ...] = getattr(call.facts, name)
        fitted = self._fitted(lambda there: getattr(getattr(there.sdpa(call), "facts", None), name, None))
        return tuple(sympy.Integer(n) if d is None else d for d, n in zip(fitted or traced, traced, strict=True))

    def shape(self, ref: Ref) -> Dims | None:
        """The shape of a tensor as expressions; None where it is no tensor, or a dimension has none."""

        def of(there: Aligned) -> Sequence[int] | None:
            op = there.op(ref.op)
            fact = op.outputs[ref.output] if op else None
            return fact.shape if fact else None

        fitted = self._fitted(of)
        return None if fitted is None or None in fitted else tuple(fitted)

    def _fitted(self, sizes: Callable[[Aligned], Sequence[int] | None]) -> list[sympy.Expr | None] | None:
        """For each size that is read off a trace the first expression that gives it in every trace; None where it has
        not as many sizes in all of them."""
        at_base = sizes(Aligned(self.trace, None))
        at_moved = {name: found for name, there in self.moved.items() if (found := sizes(there)) is not None}
        seen = [(there.point, found) for there in self.apart if (found := sizes(there)) is not None]
        everywhere = [*at_moved.values(), *(found for _, found in seen)]
        whole = len(everywhere) == len(self.moved) + len(self.apart)
        if at_base is None or not whole or any(len(found) != len(at_base) for found in everywhere):
            return None
        return agreeing(fitting(self.base, self.values, at_base, at_moved), seen)

    def following(self, name: str) -> sympy.Expr:
        """What a symbol that follows others is, as an expression in them: a, or a h_a."""
        leaders = self.follows[name]
        factor = sympy.Rational(self.base[name], math.prod(self.base[leader] for leader in leaders))
        return sympy.Mul(factor, *(symbol(leader) for leader in leaders))

    def holds(self, trace: Trace) -> bool:
        """Whether the formulas foretell exactly what is alive in `trace`: every storage, to the byte."""
        foretold: Counter[int] = Counter()
        for group in self.groups:
            foretold[group.bytes_at(trace.point) or -1] += group.count.at(trace.point)
        return +foretold == Counter(k.nbytes for k in sort_storages(trace))
