"""The rows of a report: an analysis, evaluated at a point."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy

from graphmem.accounts.saved import BESIDE, BUFFER, ELSEWHERE, INPUT, OTHERWISE, OUTPUT, SAVED
from graphmem.analysis.analysis import Analysis
from graphmem.analysis.shares import Share
from graphmem.attention import PARTS
from graphmem.errors import GraphmemError, SymbolError
from graphmem.points import Point
from graphmem.record import Place
from graphmem.record.paths import SHARED, folded, is_within
from graphmem.report.tables import (
    AttentionPart,
    AttentionRow,
    Location,
    Missed,
    ModuleRow,
    NodeRow,
    NotCounted,
    OtherKernel,
    Size,
    Verified,
)
from graphmem.symbolic.curves import evaluate
from graphmem.symbolic.derivation import Group
from graphmem.symbolic.group import Count, Repeats
from graphmem.units import allocated
from graphmem.usercode.paths import shown


@dataclass(frozen=True)
class Rows:
    """All rows at one point."""

    analysis: Analysis
    point: Point

    def each(self, group: Group) -> int:
        """One storage's bytes."""
        derived = self.analysis.derived
        moved = [n for n in derived.symbols if n not in derived.depth and self.point[n] != derived.base[n]]
        value = group.bytes_at(self.point)
        if value is None or (group.dims is None and moved):
            module = group.key.module or "the model"
            raise SymbolError(
                f"{group.key.op} in {module}: no proved formula gives its size at {', '.join(moved)}",
                hint="analyse again at that point",
            )
        return value

    def total(self, groups: Iterable[Group]) -> Size:
        nbytes = rounded = 0
        number = 0
        sizes: dict[sympy.Expr, sympy.Expr] = defaultdict(lambda: sympy.S.Zero)
        numbers: dict[sympy.Expr, sympy.Expr] = defaultdict(lambda: sympy.S.Zero)
        for group in groups:
            count, each = group.count.at(self.point), self.each(group)
            nbytes += count * each
            rounded += count * allocated(each)
            sizes[group.size] += group.count.expr
            if group.dims is None:
                number += count * each
                numbers[group.size] += group.count.expr
        return Size(nbytes, rounded, _sum(sizes), number, _sum(numbers) if numbers else None)

    def verified(self) -> Verified:
        derived = self.analysis.derived
        total = sum(self.each(g) * g.count.at(self.point) for g in self.analysis.saved)
        proved = sum(self.each(g) * g.count.at(self.point) for g in self.analysis.saved if g.dims is not None)
        share = Fraction(proved, total) if total and derived.proofs else Fraction(bool(derived.proofs))
        first, missed = (derived.proofs[0] if derived.proofs else None), derived.missed
        where = None if missed is None else Missed(missed.point, _KEPT[missed.table], missed.kept, missed.foretold)
        return Verified(first, derived.exact, derived.proofs, float(share), where)

    def node(self, group: Group) -> NodeRow:
        key, each = group.key, self.each(group)
        dims = group.dims if group.dense else None
        return NodeRow(
            op=key.op,
            module=key.module,
            made_in=key.made_in,
            count=group.count.at(self.point),
            shape=tuple(evaluate(d, self.point) or 0 for d in dims) if dims is not None else key.shape,
            dims=tuple(str(d) for d in dims) if dims is not None else None,
            dtype=key.dtype,
            each_bytes=each,
            each_expr=group.size,
            size=self.total([group]),
            kept_by=key.keepers,
            where=_location(group.members[0].place),
            proved=group.dims is not None,
        )

    def modules(self) -> tuple[ModuleRow, ...]:
        """Every module that keeps something, parents before children, in the order in which they run."""
        own: dict[str, list[Group]] = defaultdict(list)
        for group in self.analysis.saved:
            own[group.key.module].append(group)
        paths = self.analysis.running_order
        rows = []
        for path in paths:
            inside = [g for p, groups in own.items() if is_within(p, path) for g in groups]
            if not inside:
                continue
            rows.append(
                ModuleRow(
                    path=path,
                    label=self.label(path),
                    cls=paths[path],
                    depth=sum(is_within(path, p) for p in paths) - 1,
                    count=self.count(path),
                    size=self.total(inside),
                    own=self.total(own.get(path, [])),
                    each=self.one_of(self.analysis.instances.get(path, Count(1)), inside),
                )
            )
        return tuple(rows)

    def count(self, path: str) -> int:
        count = self.analysis.instances.get(path)
        return count.at(self.point) if count else 1

    def one_of(self, instances: Count, groups: list[Group]) -> sympy.Expr | None:
        """The expression for one of the `instances`, which keep `groups` together; None if they keep different ones."""
        by_size: dict[sympy.Expr, Counter[Repeats]] = defaultdict(Counter)
        for group in groups:
            for repeats, slope in group.count.terms.items():
                by_size[group.size][repeats] += slope
        total = sympy.S.Zero
        for size, counted in by_size.items():
            times = _times(counted, instances)
            if times is None:
                return None
            total += times * size
        return sympy.expand(total)

    def label(self, path: str) -> str:
        """`layers.*.attn` as `layers.0-31.attn`; with several stars, or gaps in the numbers, the stars stay."""
        if path.count(SHARED) != 1:
            return path
        upto = path[: path.index(SHARED) + 1]
        numbers = sorted(
            n
            for c in self.analysis.derived.trace.calls
            for f, ns in [folded(c.path, self._containers)]
            if f == upto
            for n in ns
        )
        count = self.count(upto)
        if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            return path
        last = numbers[0] + count - 1
        return path.replace(SHARED, f"{numbers[0]}-{last}" if count > 1 else str(numbers[0]))

    @property
    def _containers(self) -> frozenset[str]:
        return self.analysis.derived.trace.containers

    def attention(self) -> tuple[AttentionRow, ...]:
        rows = []
        for key, (sites, count) in self.analysis.sites.items():
            shares = self.analysis.shares[key]
            own = [share for share in shares if share.counted]
            module = folded(sites[0].module, self._containers)[0]
            rows.append(
                AttentionRow(
                    module=module,
                    label=self.label(module),
                    count=count.at(self.point),
                    kind=sites[0].kind,
                    kernel=sites[0].kernel,
                    why=sites[0].why,
                    where=_location(sites[0].place),
                    size=self.total(share.group for share in own),
                    each=self.one_of(count, [share.group for share in own]),
                    parts=self._parts(own, count),
                    shared=self._parts([share for share in shares if not share.counted], count),
                    instead=self._instead(key, count.at(self.point)),
                )
            )
        return tuple(rows)

    def _parts(self, shares: Iterable[Share], count: Count) -> tuple[AttentionPart, ...]:
        """What the attentions keep, by part."""
        groups: dict[str, list[Group]] = defaultdict(list)
        for share in shares:
            groups[share.part].append(share.group)
        order = sorted(groups, key=lambda part: PARTS.index(part.split(" + ")[0]))
        return tuple(AttentionPart(p, self.total(groups[p]), self.one_of(count, groups[p])) for p in order)

    def _instead(self, key: Any, count: int) -> OtherKernel | None:
        """None where it would keep more than what is kept now."""
        other = self.analysis.instead[key]
        kept = self.total(share.group for share in self.analysis.shares[key]).bytes
        each = evaluate(other.size, self.point) if other else None
        if other is None or each is None or count * each >= kept:
            return None
        return OtherKernel(other.kernel, other.how, count * each, other.size)

    def _parameters(self) -> NotCounted:
        try:
            return NotCounted("parameters", self.analysis.parameters(self.point), None, "the weights themselves")
        except GraphmemError as error:
            return NotCounted("parameters", None, None, f"the weights themselves; at these sizes {error.what}")

    def not_counted(self) -> tuple[NotCounted, ...]:
        """Other memory, by kind; empty kinds are left out."""
        rows = [self._parameters()]
        for what, why in _OTHER_TABLES.items():
            groups = self.analysis.tables(what)
            try:
                size = self.total(groups)
            except SymbolError:  # it may be without a formula where what is saved has one
                rows.append(NotCounted(what, None, None, f"{why}; its size at this point has no formula"))
                continue
            if size.bytes:
                names = f": {', '.join(self.analysis.derived.trace.beside)}" if what == BESIDE else ""
                rows.append(NotCounted(what, size.bytes, None if size.number else size.expr, f"{why}{names}"))
        why = "freed during forward or made in backward, so this is not the peak; gradients, optimizer state"
        return (*rows, NotCounted("temporaries", None, None, why))


def _sum(sizes: Mapping[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    """Each size times how many there are of it."""
    return sympy.expand(sympy.Add(*(n * size for size, n in sizes.items())))


def _times(counted: Mapping[Repeats, int], instances: Count) -> sympy.Expr | None:
    """`counted` by instance: a number, or an expression if an instance contains a loop. None if it would be an
    average, since some instances keep it and some do not."""
    wanted = instances.terms
    # What grows with layers grows with the instances; the rest, the turns, is in each of them.
    layers = {repeat for repeats in wanted for repeat in repeats}
    apart: dict[Repeats, Counter[Repeats]] = defaultdict(Counter)
    for repeats, n in counted.items():
        apart[tuple(r for r in repeats if r not in layers)][tuple(r for r in repeats if r in layers)] += n
    times = sympy.S.Zero
    for turns, by_layer in apart.items():
        each = Fraction(by_layer[()], instances.at_base)
        if each.denominator > 1 or any(by_layer[r] != each * wanted.get(r, 0) for r in {*by_layer, *wanted}):
            return None
        times += each.numerator * sympy.Mul(*(repeat.expr for repeat in turns))
    return times


_KEPT = {SAVED: "for backward", OUTPUT: "of outputs", OTHERWISE: "in closures, caches or attributes"}
_OTHER_TABLES = {
    INPUT: "your own tensor: autograd holds it, but it exists anyway",
    BUFFER: "the model's own tensor: autograd holds it, but it exists anyway",
    OUTPUT: "held by the caller of forward, not by an autograd node",
    OTHERWISE: "alive, but in no autograd node: held by a closure, a cache or an attribute",
    BESIDE: "held by what forward returns beside the loss, until the caller lets go of it",
    ELSEWHERE: "saved for backward on another device: RNG seeds on the CPU, or what was moved there",
}


def _location(place: Place | None) -> Location | None:
    return Location(shown(place.file), place.line) if place else None
