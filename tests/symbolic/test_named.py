"""Kinds of models that have names: their formula is proved, and right at points of chance within its limits."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from graphmem.load import Subject, from_factories
from measure.search_check import Beside, analysed, check
from support.named import detr, dit, joint, padded, windows
from support.slow import first_of

POINTS, REFUSED = 20, 1  # of each model, and how many of these a report may refuse without a limit that says so
TRIES = 8 * POINTS  # the model refuses many points, and at many others attention runs another kernel
KINDS: dict[str, Mapping[str, tuple[Callable, Callable]]] = {
    "detr": detr.MODELS,
    "dit": dit.MODELS,
    "padded": padded.MODELS,
    "joint": joint.MODELS,
    "windows": windows.MODELS,
}
# One of each kind; the first is fast.
QUICK = ("padded: 64", "detr: memory", "dit: any side, bf16, loss", "joint: written", "windows: blocks, written")
MODELS = {f"{kind}: {name}": made for kind, models in KINDS.items() for name, made in models.items()}
# With few queries and with many: every model at two of these.
QUERIES = {
    f"detr: {name}": [detr.QUERIES[i % 4], detr.QUERIES[(i + 2) % 4]] for i, name in enumerate(reversed(detr.MODELS))
}
CASES = [(name, {"q": q} if q else {}) for name in MODELS for q in QUERIES.get(name, [0])]


def checked(name: str, settings: dict[str, Any], points: int) -> None:
    model, inputs = MODELS[name]

    def subject() -> Subject:
        return from_factories(model, inputs, name=name, settings=settings)

    found = check(subject, {}, random.Random(0), points, TRIES, limit=math.inf)  # machines that test are busy
    assert found.proved, found.why
    assert not found.wrong
    assert len(found.refused) * POINTS <= REFUSED * points, found.refused
    assert found.equal + len(found.refused) == points, found


@pytest.mark.parametrize("name", first_of(QUICK))
def test_two_points(name: str) -> None:
    checked(name, {}, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_points_of_chance(name: str, settings: dict[str, Any]) -> None:
    checked(name, settings, POINTS)


# What chance may miss, and once was wrong: windows of 100 passed for rounded thirds of s, and a width of 8h/3 that is
# rounded to 256 for 8h/3 itself, since 12 heads of a multiple of 8 make every h one of 96.
KNOWN: list[tuple[str, list[dict[str, int]]]] = [
    ("windows: blocks, written", [{"s": s} for s in (300, 590, 600, 1000, 1100)]),
    ("padded: both", [{"h": 528}, {"h": 816}, {"h": 1080, "a": 15}]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "points"), KNOWN)
def test_points_that_were_wrong(name: str, points: list[dict[str, int]]) -> None:
    report = analysed(lambda: from_factories(*MODELS[name], name=name), {}, math.inf)
    beside = Beside.of(report)
    assert report.verified.exact
    assert [point for point in points if beside.is_wrong(point)] == []
    assert any(beside.asked(point)[0] for point in points)
