"""`graphmem lint`: several targets, their findings, what is left out, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphmem.errors import UsageError
from graphmem.linter.baseline import is_known, read_baseline
from graphmem.linter.finding import Finding
from graphmem.linter.rule import Rule, chosen_rules
from graphmem.linter.threshold import Threshold, read_threshold
from graphmem.units import read_count, read_size

if TYPE_CHECKING:
    from graphmem.analysis.report import Report


@dataclass(frozen=True)
class Result:
    """What a run of lint found.

    findings: to report, the worst first. rules: those that were on. targets: their names, with the bytes saved at the
    working point. points: where they were judged instead.
    suppressed, known, small: how many findings a comment, the baseline or the threshold left out.
    """

    findings: tuple[Finding, ...]
    rules: tuple[Rule, ...]
    targets: tuple[tuple[str, int], ...]
    points: tuple[dict[str, int], ...] = ()
    suppressed: int = 0
    known: int = 0
    small: int = 0


@dataclass(frozen=True)
class Request:
    """What a run of lint is asked for, read and checked before any model is loaded."""

    rules: tuple[Rule, ...]
    points: tuple[dict[str, int], ...]
    budget: int | None
    threshold: Threshold
    baseline: dict[str, int]


def read_request(options: dict[str, Any]) -> Request:
    """From options as the command line or pyproject.toml give them.

    Raises:
        UsageError: one that cannot be read.
    """
    baseline, budget = options.get("baseline"), options.get("budget")
    return Request(
        rules=chosen_rules(*(_split(options.get(name) or ()) for name in ("select", "extend_select", "ignore"))),
        points=tuple(_point(text) for text in options.get("at") or ()),
        budget=None if budget is None else read_size(budget, "--budget"),
        threshold=read_threshold(options.get("threshold") or "1%"),
        baseline=read_baseline(baseline) if baseline and not options.get("write_baseline") else {},
    )


def lint(request: Request, targets: Sequence[str], analyze: Callable[[str], AbstractContextManager[Report]]) -> Result:
    """Analyse each target and judge it, which runs its model again."""
    from graphmem.linter.engine import Checker, by_weight
    from graphmem.linter.suppress import Suppressions

    comments = Suppressions()
    found: list[Finding] = []
    names = []
    for target in targets:
        with analyze(target) as report:
            names.append((report.name, report.saved.bytes))
            found += Checker(report, request.rules, request.budget).findings(request.points)
        comments.read({p.file for op in report.analysis.derived.trace.ops for p in op.stack})
    heard = comments.without(found)
    large = [f for f in heard if request.threshold.admits(f)]
    large += comments.unused(request.rules)
    new = [f for f in large if not is_known(f, request.baseline)]
    return Result(
        findings=tuple(by_weight(new)),
        rules=request.rules,
        targets=tuple(names),
        points=request.points,
        suppressed=len(found) - len(heard),
        known=len(large) - len(new),
        small=len([f for f in heard if not request.threshold.admits(f)]),
    )


def _split(entries: Sequence[str]) -> list[str]:
    return [part.strip() for entry in entries for part in entry.split(",") if part.strip()]


def _point(text: str) -> dict[str, int]:
    """`s=8192` or `s=8192,b=1`."""
    point = {}
    for pair in _split([text]):
        name, _, value = pair.partition("=")
        size = read_count(value)
        if not name.strip() or size is None:
            raise UsageError(f"--at {text}: not NAME=INTEGER", hint="--at s=8192, or --at s=8192,b=1")
        point[name.strip()] = size
    if not point:
        raise UsageError("--at names no point", hint="--at s=8192, or --at s=8192,b=1")
    return point
