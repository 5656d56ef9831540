"""Rules over a report: spots, one for each place in the traced layers, become findings, counted over all layers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import sympy

from graphmem.lint.context import Context
from graphmem.lint.finding import Finding
from graphmem.lint.remeasure import saved_after
from graphmem.lint.rule import ERROR, Rule, chosen_rules
from graphmem.lint.spot import Spot, Term
from graphmem.lint.threshold import Threshold
from graphmem.paths import shown
from graphmem.report import Location, Report
from graphmem.symbolic.fit import evaluate
from graphmem.symbolic.group import Count


@dataclass
class Checker:
    """Runs rules over one analysis, at one or several points."""

    report: Report
    rules: Sequence[Rule]
    budget: int | None = None
    _measured: dict[object, sympy.Expr | None] = field(default_factory=dict)

    def findings(self, points: Sequence[dict[str, int]] = ()) -> list[Finding]:
        """Everything that is found, however small: a finding of several points once, where it weighs most."""
        largest: dict[str, Finding] = {}
        flow = None
        for point in points or ({},):
            report = self.report.at(**point) if point else self.report
            context = Context(report, flow=flow, budget=self.budget, asked=point)
            flow = context.flow
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
        count, at_stake = _total({s: context.one(s) for s in spot_storages(spots)}, context)
        if spot.stake is not None:
            at_stake = _sum([term for s in spots for term in s.stake or ()], context) or at_stake
        saving = self._saving(spots, context)
        nbytes, less = _value(at_stake, context), _value(saving, context)
        if nbytes is None or (less is not None and less <= 0):
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
            count=count,
            where=Location(shown(place.file), place.line) if place and place.file else None,
            lines=tuple((p.file, p.line) for p in [*([place] if place else []), *(op.stack if op else ())]),
            point=dict(context.report.symbols),
            of=context.report.saved.bytes,
            bytes=nbytes,
            expr=at_stake,
            saving=less,
            saving_expr=saving,
            depth=context.report.depth,
            measured=spot.change is not None and less is not None,
        )

    def _saving(self, spots: list[Spot], context: Context) -> sympy.Expr | None:
        change = spots[0].change
        if change is not None:
            if change.of not in self._measured:
                self._measured[change.of] = saved_after(context.findings, change.swaps_of)
            after = self._measured[change.of]
            return None if after is None else sympy.expand(context.report.saved.expr - after)
        if any(spot.saving is None for spot in spots):
            return None
        return _sum([term for spot in spots for term in spot.saving or ()], context)


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


def spot_storages(spots: Sequence[Spot]) -> list[int]:
    """The storages of all of them, each once."""
    return list(dict.fromkeys(s for spot in spots for s in spot.storages))


def _alike(spot: Spot, context: Context) -> Any:
    op = context.op(spot.op) if spot.op >= 0 else None
    module = spot.module if spot.module is not None else context.module(spot.op) if op else ""
    of = spot.change.of if spot.change else None
    return context.folded(module), spot.place or (op and op.place), op and op.name, spot.message, spot.fix, of


def _total(sizes: dict[int, sympy.Expr], context: Context) -> tuple[int, sympy.Expr]:
    """How many there are of the first, and the bytes of all, over all layers."""
    saved = [s for s in sizes if s in context.kept]
    if not saved:
        return 1, sympy.Integer(0)
    like_first = [s for s in saved if context.group(s).key == context.group(saved[0]).key]
    count = _count(saved[0], len(like_first), context) or Count(len(like_first))
    return count.at(context.point), _sum([Term(s, sizes[s]) for s in saved], context) or sympy.Integer(0)


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
    """Without those of which another rule says more."""
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
