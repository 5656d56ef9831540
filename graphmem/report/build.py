"""`build_report`: a derivation, evaluated at a point."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import sympy

from graphmem.attention import Site, find_attention
from graphmem.errors import SymbolError
from graphmem.paths import shown
from graphmem.report.tables import (
    AttentionRow,
    Location,
    ModuleRow,
    NodeRow,
    NotCounted,
    Report,
    Size,
    Verified,
)
from graphmem.saved import (
    ALIVE,
    BUFFER,
    ELSEWHERE,
    INPUT,
    OTHERWISE,
    OUTPUT,
    SAVED,
    SHARED,
    Kept,
    folded,
    sort_storages,
)
from graphmem.symbolic.derive import Derivation, Group
from graphmem.symbolic.fit import evaluate
from graphmem.symbolic.group import Count, counts, key_of
from graphmem.trace.record import Place, Trace
from graphmem.units import allocated

Point = Mapping[str, int]


@dataclass(frozen=True)
class Findings:
    """What does not change from point to point."""

    name: str
    target: str
    settings: dict[str, str]
    working: dict[str, int]
    derived: Derivation
    notes: tuple[str, ...]
    parameters: int
    make_graph: Callable[[], Any] = field(repr=False)

    @cached_property
    def saved(self) -> tuple[Group, ...]:
        return self.tables(SAVED)

    def tables(self, *names: str) -> tuple[Group, ...]:
        return tuple(g for g in self.derived.groups if g.key.table in names)

    @cached_property
    def instances(self) -> dict[str, Count]:
        """How many modules ran under each folded path."""
        return _count_all({d: _called(t) for d, t in self.derived.deeper.items()}, _called(self.derived.trace))

    @cached_property
    def sites(self) -> dict[Any, tuple[list[Site], Count]]:
        """Attentions by what makes them alike, with their count."""
        base = _sites(self.derived.trace, self.derived.kept)
        found = _count_all({d: _sites(t, sort_storages(t)) for d, t in self.derived.deeper.items()}, base)
        return {key: (base[key], found[key]) for key in base}


def build_report(findings: Findings, point: Point) -> Report:
    """The report at `point`."""
    derived = findings.derived
    at = _At(findings, point)
    return Report(
        name=findings.name,
        target=findings.target,
        symbols={n: point[n] for n in derived.symbols},
        settings=findings.settings,
        saved=at.total(findings.saved),
        alive=at.total(findings.tables(*ALIVE)),
        verified=Verified(derived.proof, derived.exact),
        nodes=tuple(sorted((at.node(g) for g in findings.saved), key=lambda n: -n.size.bytes)),
        modules=at.modules(),
        attention=at.attention(),
        not_counted=at.not_counted(),
        depth=derived.depth,
        notes=findings.notes,
        _elsewhere=partial(_elsewhere, findings, point),
        _make_graph=findings.make_graph,
    )


def _elsewhere(findings: Findings, point: Point, symbols: Mapping[str, int]) -> Report:
    for name, value in symbols.items():
        if name not in findings.working:
            raise SymbolError(f"unknown symbol {name!r}", hint=f"known: {', '.join(findings.working)}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SymbolError(f"{name} must be a positive integer, not {value!r}")
        if value != findings.working[name] and name in findings.derived.refused:
            raise SymbolError(
                f"{name} is not in the formula: it was only traced at {findings.working[name]}",
                hint=f"analyse again with {name}={value}",
            )
    return build_report(findings, {**point, **symbols})


@dataclass(frozen=True)
class _At:
    """The rows at one point."""

    findings: Findings
    point: Point

    def each(self, group: Group) -> int:
        """One storage's bytes."""
        derived = self.findings.derived
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
        sizes: dict[sympy.Expr, sympy.Expr] = defaultdict(lambda: sympy.S.Zero)
        for group in groups:
            count, each = group.count.at(self.point), self.each(group)
            nbytes += count * each
            rounded += count * allocated(each)
            sizes[group.size] += group.count.expr
        return Size(nbytes, rounded, sympy.expand(sympy.Add(*(n * size for size, n in sizes.items()))))

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
        for group in self.findings.saved:
            own[group.key.module].append(group)
        paths = _running_order(self.findings.derived.trace)
        rows = []
        for path in paths:
            inside = [g for p, groups in own.items() if _is_within(p, path) for g in groups]
            if not inside:
                continue
            rows.append(
                ModuleRow(
                    path=path,
                    label=self.label(path),
                    cls=paths[path],
                    depth=sum(_is_within(path, p) for p in paths) - 1,
                    count=self.count(path),
                    size=self.total(inside),
                    own=self.total(own.get(path, [])),
                    each=self.one_of(path, inside),
                )
            )
        return tuple(rows)

    def count(self, path: str) -> int:
        count = self.findings.instances.get(path)
        return count.at(self.point) if count else 1

    def one_of(self, path: str, groups: list[Group]) -> sympy.Expr | None:
        """The expression for one of the modules under `path`, where all of them keep the same."""
        instances = self.findings.instances.get(path, Count(1))
        by_size: dict[sympy.Expr, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for group in groups:
            counted = by_size[group.size]
            counted[""] += group.count.at_base
            for name, slope in group.count.per_layer:
                counted[name] += slope
        total = sympy.S.Zero
        wanted = {"": instances.at_base, **dict(instances.per_layer)}
        for size, counted in by_size.items():
            times = Fraction(counted[""], instances.at_base)
            names = {n for n in (*counted, *wanted) if n}
            if any(counted.get(n, 0) != times * wanted.get(n, 0) for n in names):
                return None
            total += sympy.Rational(times.numerator, times.denominator) * size
        return sympy.expand(total)

    def label(self, path: str) -> str:
        """`layers.*.attn` as `layers.0-31.attn`; with several stars, or numbers that skip, the stars stay."""
        if path.count(SHARED) != 1:
            return path
        upto = path[: path.index(SHARED) + 1]
        numbers = sorted(
            n
            for c in self.findings.derived.trace.calls
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
        return self.findings.derived.trace.containers

    def attention(self) -> tuple[AttentionRow, ...]:
        by_key = {g.key: g for g in self.findings.derived.groups}
        rows = []
        for sites, count in self.findings.sites.values():
            site = sites[-1]
            module = folded(site.module, self._containers)[0]
            groups = [by_key[key_of(k, self._containers)] for k in site.kept(self.findings.derived.kept)]
            each = sum(self.each(g) for g in groups)
            expr = sympy.expand(sympy.Add(*(g.size for g in groups)))
            n = count.at(self.point)
            rounded = sum(allocated(self.each(g)) for g in groups)
            rows.append(
                AttentionRow(
                    module=module,
                    label=self.label(module),
                    count=n,
                    kind=site.kind,
                    kernel=site.kernel,
                    why=site.why,
                    where=_location(site.place),
                    size=Size(n * each, n * rounded, sympy.expand(count.expr * expr)),
                    each_bytes=each,
                    each_expr=expr,
                )
            )
        return tuple(rows)

    def not_counted(self) -> tuple[NotCounted, ...]:
        """What else there is, largest kinds first; kinds that are empty are left out."""
        moved = any(v != self.point[n] for n, v in self.findings.working.items())
        weights = "the weights themselves" + (", at the working point" if moved else "")
        rows = [NotCounted("parameters", self.findings.parameters, None, weights)]
        for what, why in _OTHER_TABLES.items():
            size = self.total(self.findings.tables(what))
            if size.bytes:
                rows.append(NotCounted(what, size.bytes, size.expr, why))
        why = "freed during forward or made in backward: so this is not the peak; gradients, optimizer state"
        return (*rows, NotCounted("temporaries", None, None, why))


_OTHER_TABLES = {
    INPUT: "saved, but yours: it exists anyway",
    BUFFER: "saved, but the model's own: it exists anyway",
    OUTPUT: "held by whoever called forward, and by no autograd node",
    OTHERWISE: "alive, but in no autograd node: held by a closure, a cache or an attribute",
    ELSEWHERE: "saved on another device, such as RNG seeds on the CPU",
}


def _location(place: Place | None) -> Location | None:
    return Location(shown(place.file), place.line) if place else None


def _is_within(path: str, ancestor: str) -> bool:
    return not ancestor or path == ancestor or path.startswith(f"{ancestor}.")


def _running_order(trace: Trace) -> dict[str, str]:
    """Folded path -> class, parents first, else by first call."""
    first: dict[str, str] = {"": ""}
    for call in trace.calls:
        first.setdefault(folded(call.path, trace.containers)[0], call.cls)
        if not call.path:
            first[""] = call.cls
    ordered: dict[str, str] = {}

    def visit(path: str) -> None:
        ordered[path] = first[path]
        inside = [p for p in first if p != path and _is_within(p, path)]
        for child in inside:
            if child not in ordered and not any(_is_within(child, p) and p != child for p in inside):
                visit(child)

    visit("")
    return ordered


def _called(trace: Trace) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = defaultdict(list)
    for path in dict.fromkeys(call.path for call in trace.calls):
        paths[folded(path, trace.containers)[0]].append(path)
    return dict(paths)


def _sites(trace: Trace, alive: tuple[Kept, ...]) -> dict[Any, list[Site]]:
    sites: dict[Any, list[Site]] = defaultdict(list)
    for site in find_attention(trace):
        kept = tuple(key_of(k, trace.containers) for k in site.kept(alive))
        module = folded(site.module, trace.containers)[0]
        sites[(module, site.kind, site.kernel, site.why, site.place, kept)].append(site)
    return dict(sites)


def _count_all(deeper: Mapping[str, Mapping[Any, list[Any]]], base: Mapping[Any, list[Any]]) -> dict[Any, Count]:
    found = counts(base, deeper)
    return found if found is not None else {key: Count(len(members)) for key, members in base.items()}
