"""Asks a report for points, and traces the same points afresh: where the two differ, the formula is wrong."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from graphmem.accounts.saved import ALIVE, SAVED, sort_storages
from graphmem.analysis.analyze import analyze_subject
from graphmem.errors import GraphmemError
from graphmem.how import read_how
from graphmem.load import Subject
from graphmem.symbolic.curves import evaluate
from graphmem.units import allocated
from graphmem.usercode.isolate import isolated
from measure.search_points import Room, fewest

LIMIT = 30  # seconds of processor time for a model
POINTS, TRIES = 8, 24  # of a model: so many points that the model takes are compared, after so many draws at most
# What refuses a point that a report states, in a note or in the table: where attention runs another kernel, where two
# roundings differ that no trace tells apart, what is for one value only, and limits that move with another symbol.
STATED = re.compile(r"attention runs |no trace tells which|is not in the formula|^the formula (holds|is) for ")
Point = dict[str, int]


class SlowError(BaseException):
    """A model took too long. Not an Exception: nothing on the way may take it for the model's own."""


def within(subject: Subject, seconds: float) -> Subject:
    """The subject, until so many seconds of processor time are over: then it raises SlowError where it is built anew.

    An interruption anywhere else, by a signal, may hit C++ in the middle of an operator, which ends the process.
    """
    end = time.process_time() + seconds

    def build(point: Point) -> Any:
        if time.process_time() > end:
            raise SlowError
        return subject.build(point)

    return replace(subject, build=build)


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A point at which the formula is wrong. expected: what a fresh trace keeps; got: what the formula says.

    lines: what differs, as (operator, source line, formula of one).
    """

    point: Point
    working: Point
    expected: dict[str, int]
    got: dict[str, int]
    formula: str
    lines: tuple[tuple[str, str, str], ...] = ()


@dataclass(kw_only=True)
class Found:
    """What came out for one model. proved: None where there is no report. refused: inside of the limits that the report
    states; outside: how often beyond them."""

    proved: bool | None = None
    why: str = ""
    formula: str = ""
    equal: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    refused: list[tuple[Point, str]] = field(default_factory=list)
    outside: Counter[str] = field(default_factory=Counter)
    raises: Counter[str] = field(default_factory=Counter)


def check(
    subject: Callable[[], Subject],
    options: dict[str, Any],
    chance: random.Random,
    points: int = POINTS,
    tries: int = TRIES,
    limit: float = LIMIT,
) -> Found:
    """Analyse a subject, and compare its report with traces at points of chance."""
    found = Found()
    try:
        report = analysed(subject, options, limit)
    except GraphmemError as error:
        found.why = f"{type(error).__name__}: {_plain(error)}"
        return found
    found.proved, found.formula = report.verified.exact, str(report.saved.expr)
    if not found.proved:
        open_ = {f"{n.op} {Path(n.where.file).name if n.where else ''}" for n in report.nodes if not n.proved}
        found.why = "; ".join(sorted(open_)) or "every size has an expression"
        return found
    room, beside = Room.of(report), Beside.of(report)
    for _ in range(tries if room.free else 0):
        if found.equal + len(found.wrong) + len(found.refused) >= points:
            break
        point = room.draw(chance)
        if point:
            compare(beside, point, found)
    return found


def analysed(subject: Callable[[], Subject], options: dict[str, Any], limit: float = LIMIT) -> Any:
    """The report."""
    with isolated(keep_stdout_clean=True):
        return analyze_subject(within(subject(), limit), read_how({"gpu": "h100", **options}))


@dataclass(frozen=True)
class Beside:
    """A report, and a tracer that has seen no point of it."""

    report: Any
    tracer: Any

    @classmethod
    def of(cls, report: Any) -> Beside:
        """They know nothing of what the derivation traced."""
        return cls(report, report.analysis.tracer.afresh())

    def asked(self, point: Point) -> tuple[Any, str]:
        """The report at the point, or None and why not."""
        try:
            return self.report.at(**point), ""
        except GraphmemError as error:
            return None, _plain(error)

    def is_outside(self, point: Point) -> bool:
        """Whether a limit of the report keeps the point out, also one that moves with another symbol."""
        analysis = self.report.analysis
        return any(bound.keeps_out({**analysis.working, **point}) for bound in analysis.bounds)

    def traced(self, point: Point) -> Any:
        """A trace of all layers at the point; what follows other sizes does so there, too."""
        analysis = self.report.analysis
        whole = {**analysis.working, **point}
        for name in analysis.derived.follows:
            whole[name] = evaluate(analysis.derived.following(name), whole) or whole[name]
        with isolated(keep_stdout_clean=True):
            return self.tracer(whole)

    def is_wrong(self, point: Point) -> bool:
        """Whether the report says something else than a trace at a point that both take."""
        there, _ = self.asked(point)
        try:
            return there is not None and _said_sizes(there) != _traced_sizes(self.traced(point))
        except GraphmemError:
            return False


def compare(beside: Beside, point: Point, found: Found) -> None:
    """Ask the report for a point, trace it, and write down what came out."""
    there, refusal = beside.asked(point)
    try:
        trace = beside.traced(point)
    except GraphmemError as error:
        found.raises[f"{'accepted' if there else 'refused'}: {_plain(error)}"[:100]] += 1
        return
    if there is None and (STATED.search(refusal) or beside.is_outside(point)):
        found.outside[refusal[:100]] += 1
        return
    if there is None:
        found.refused.append((point, refusal))
        return
    if _traced_sizes(trace) == _said_sizes(there):
        found.equal += 1
        return
    least = fewest(point, beside.is_wrong)
    trace, (there, _) = beside.traced(least), beside.asked(least)
    found.wrong.append(
        Wrong(
            point=least,
            working=dict(beside.report.analysis.working),
            expected=_traced_sizes(trace),
            got=_said_sizes(there),
            formula=str(there.saved.expr),
            lines=_differing(there, trace, least),
        )
    )


def _traced_sizes(trace: Any) -> dict[str, int]:
    kept = sort_storages(trace)
    saved = [k.nbytes for k in kept if k.table == SAVED]
    alive = sum(k.nbytes for k in kept if k.table in ALIVE)
    return {"saved": sum(saved), "allocated": sum(map(allocated, saved)), "alive": alive}


def _said_sizes(report: Any) -> dict[str, int]:
    return {"saved": report.saved.bytes, "allocated": report.saved.allocated_bytes, "alive": report.alive.bytes}


def _differing(report: Any, trace: Any, point: Point) -> tuple[tuple[str, str, str], ...]:
    """The lines whose storages do not add up."""
    analysis = report.analysis
    there = {**analysis.working, **point}
    said: dict[tuple[str, str], int] = {}
    formulas: dict[tuple[str, str], str] = {}
    for group in analysis.derived.groups:
        line = _line(group.members[0])
        said[line] = said.get(line, 0) + (group.bytes_at(there) or 0) * group.count.at(there)
        formulas[line] = f"{formulas[line]}, {group.size}" if line in formulas else str(group.size)
    kept: Counter[tuple[str, str]] = Counter()
    for one in sort_storages(trace):
        kept[_line(one)] += one.nbytes
    differ = [line for line in {**said, **kept} if said.get(line, 0) != kept[line]]
    return tuple((op, text, formulas.get((op, text), "")) for op, text in differ)


def _line(kept: Any) -> tuple[str, str]:
    place = kept.place
    text = ""
    if place:
        with open(place.file) as file:
            text = next((x.strip() for i, x in enumerate(file, 1) if i == place.line), "")
    return f"{kept.table}: {kept.op.name}", text


def _plain(error: BaseException) -> str:
    """The first line of an error, without its numbers."""
    first = (str(error).strip().splitlines() or [""])[0]
    return re.sub(r"\d[\d,.]*", "N", re.sub(r"/\S*/", "", first))[:160]
