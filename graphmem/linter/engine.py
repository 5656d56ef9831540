"""Rules over a report: spots, one for each place in the traced layers, become findings, counted over all layers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import sympy

from graphmem.analysis.analysis import Analysis
from graphmem.analysis.report import Report
from graphmem.linter.context import Context
from graphmem.linter.finding import Finding
from graphmem.linter.rule import ERROR, Rule, chosen_rules
from graphmem.linter.spot import Spot, Term
from graphmem.linter.threshold import Threshold
from graphmem.record.flow import Flow
from graphmem.report import Location
from graphmem.symbolic.curves import evaluate
from graphmem.symbolic.group import Count
from graphmem.usercode.paths import shown


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is worked out once for all points of an analysis; a point where a size is 1 may have another analysis.

    measured: what is saved after a change, by what is changed.
    """

    analysis: Analysis
    flow: Flow
    measured: dict[object, sympy.Expr | None] = field(default_factory=dict)


@dataclass
class Checker:
    """Runs rules over one analysis, at one or several points."""

    report: Report
    rules: Sequence[Rule]
    budget: int | None = None
    _known: list[_Known] = field(default_factory=list)

    def findings(self, points: Sequence[dict[str, int]] = ()) -> list[Finding]:
        """Everything that is found, however small: a finding at several points counts once, where it weighs most."""
        largest: dict[str, Finding] = {}
        for point in points or ({},):
            report = self.report.at(**point) if point else self.report
            flow = self._known_of(report.analysis).flow
            context = Context(report, flow=flow, budget=self.budget, asked=point)
            for finding in self._at(context):
                known = largest.get(finding.fingerprint)
                if known is None or finding.weight > known.weight:
                    largest[finding.fingerprint] = finding
        return by_weight(largest.values())

    def _at(self, context: Context) -> list[Finding]:
        found: list[Finding] = []
        for rule in self.rules:
            merged: dict[Any, list[Spot]] = defaultdict(list)
            for spot in rule.check(context):
                merged[_alike(spot, context)].append(spot)
            found += [f for spots in merged.values() if (f := self._finding(rule, spots, context)) is not None]
        return _numbered(_not_yielding(found))

    def _finding(self, rule: Rule, spots: list[Spot], context: Context) -> Finding | None:
        spot = spots[0]
        at_stake = _at_stake(spots, context)
        saving, measured = self._saving(spots, context)
        nbytes, less = _value(at_stake, context), _value(saving, context)
        if less is not None and less <= 0:
            saving = less = None
            if not rule.always:
                return None
        if nbytes is None:
            return None
        op = context.op(spot.op) if spot.op >= 0 else None
        module = spot.module if spot.module is not None else context.module(spot.op) if op else ""
        path, place = context.folded(module), spot.place or (op.place if op else None)
        return Finding(
            rule=rule,
            target=_portable(context.report.name),
            message=spot.message,
            fix=spot.fix,
            module=path,
            label=context.label(path),
            what=op.name if op else "",
            count=_times(spots, context),
            where=Location(shown(place.file), place.line) if place and place.file else None,
            lines=tuple((p.file, p.line) for p in [*([place] if place else []), *(op.stack if op else ())]),
            point=dict(context.report.symbols),
            of=context.report.saved.bytes,
            bytes=nbytes,
            expr=at_stake,
            saving=less,
            saving_expr=saving,
            depth=context.report.depth,
            measured=measured and less is not None,
        )

    def _saving(self, spots: list[Spot], context: Context) -> tuple[sympy.Expr | None, bool]:
        """How much less is saved, and whether that was measured."""
        change = spots[0].change
        if change is not None:
            measured = self._known_of(context.analysis).measured
            if change.of not in measured:
                measured[change.of] = change.after(context.analysis)
            after = measured[change.of]
            if after is not None:
                return sympy.expand(context.report.saved.expr - after), True
        if any(spot.saving is None for spot in spots):
            return None, False
        return _sum([term for spot in spots for term in spot.saving or ()], context), False

    def _known_of(self, analysis: Analysis) -> _Known:
        for known in self._known:
            if known.analysis is analysis:
                return known
        self._known.append(_Known(analysis=analysis, flow=Flow(analysis.derived.trace)))
        return self._known[-1]


def check(
    report: Report,
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    extend_select: Iterable[str] = (),
    budget: int | None = None,
    threshold: Threshold | None = None,
) -> list[Finding]:
    """The mistakes in an analysed model, the worst first.

    Args:
        select, ignore, extend_select: rules by code, beginning of a code, or name; default: those on by default.
        budget: bytes that forward may leave alive.
        threshold: what is too small to report; default: 1 % of what is saved.
    """
    found = Checker(report, chosen_rules(select, extend_select, ignore), budget).findings()
    return [f for f in found if (threshold or Threshold()).admits(f)]


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then the largest."""
    return sorted(findings, key=lambda f: (f.rule.severity != ERROR, -f.weight, f.rule.code, f.label, str(f.where)))


def _storages(spots: Sequence[Spot]) -> list[int]:
    """The storages of all of them, each once."""
    return list(dict.fromkeys(s for spot in spots for s in spot.storages))


def _alike(spot: Spot, context: Context) -> Any:
    op = context.op(spot.op) if spot.op >= 0 else None
    module = spot.module if spot.module is not None else context.module(spot.op) if op else ""
    of = spot.change.of if spot.change else None
    return context.folded(module), spot.place or (op and op.place), op and op.name, spot.message, spot.fix, of


def _at_stake(spots: Sequence[Spot], context: Context) -> sympy.Expr:
    """Bytes, over all layers."""
    terms = [term for spot in spots for term in spot.stake or ()]
    if spots[0].stake is None:
        terms = [Term(s, context.one(s)) for s in _storages(spots) if s in context.kept]
    return _sum(terms, context) or sympy.Integer(0)


def _times(spots: Sequence[Spot], context: Context) -> int:
    """How often the mistake is made, over all layers; each place is counted by its first storage."""
    firsts = dict.fromkeys(spot.storages[0] for spot in spots if spot.storages and spot.storages[0] in context.kept)
    alike = Counter(context.group(storage).key for storage in firsts)
    some = {context.group(storage).key: storage for storage in firsts}
    counts = [_count(some[key], n, context) or Count(n) for key, n in alike.items()]
    return sum(count.at(context.point) for count in counts) or 1


def _sum(terms: Sequence[Term], context: Context) -> sympy.Expr | None:
    """The terms over all layers; None where some layers have a different share of what is alike."""
    alike: Counter[tuple[Any, sympy.Expr]] = Counter()
    some: dict[Any, int] = {}
    total = sympy.Integer(0)
    for term in terms:
        if term.storage < 0:
            total += term.each
            continue
        key = context.group(term.storage).key
        some[key] = term.storage
        alike[key, term.each] += 1
    for (key, each), n in alike.items():
        count = _count(some[key], n, context)
        if count is None:
            return None
        total += count.expr * each
    return sympy.expand(total)


def _count(storage: int, members: int, context: Context) -> Count | None:
    share = context.group(storage).share(members)
    return None if share is None else share.count


def _value(expr: sympy.Expr | None, context: Context) -> int | None:
    return None if expr is None else evaluate(expr, context.point)


def _not_yielding(found: list[Finding]) -> list[Finding]:
    """Without those about which another rule says more."""
    there = {(f.rule.code, f.module) for f in found}
    return [f for f in found if not any((code, f.module) in there for code in f.rule.yields_to)]


def _numbered(found: list[Finding]) -> list[Finding]:
    """Those that a fingerprint would not tell apart, numbered in their order."""
    seen: Counter[str] = Counter()
    numbered = []
    for finding in found:
        seen[finding.fingerprint] += 1
        numbered.append(replace(finding, number=seen[finding.fingerprint] - 1))
    return numbered


def _portable(name: str) -> str:
    return PurePath(name).as_posix()
