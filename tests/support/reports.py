"""Reports, as several tests want them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import graphmem
from support.repo import ROOT

# How tests/truth was measured.
MEASURED = {"gpu": "h100", "torch_version": "2.11", "cudnn_version": "9.19"}


@functools.cache
def of_sample(file: str, **symbols: int | str) -> graphmem.Report:
    """The report of a file in samples/ at these sizes, as on the machine that was measured."""
    return graphmem.analyze(str(ROOT / "samples" / file), symbols=symbols, **MEASURED)


def as_keywords(words: list[str]) -> dict[str, Any]:
    """Options of the command line as keywords of `graphmem.analyze`: --set L=4 --dtype fp16."""
    pairs = list(zip(words[::2], words[1::2], strict=True))
    options = {flag.removeprefix("--"): value for flag, value in pairs if flag != "--set"}
    return {"symbols": dict(value.split("=") for flag, value in pairs if flag == "--set"), **options}


def emitted(report: graphmem.Report) -> Callable[..., int]:
    """The Python function that the report's formula is written as."""
    from graphmem.render.formula import python

    made: dict[str, Any] = {}
    exec(python(report), made)
    function: Callable[..., int] = made["saved_bytes"]
    return function


def predicted(report: graphmem.Report) -> Counter[int]:
    """The storages that are saved, by size, as the oracle counts them."""
    sizes: Counter[int] = Counter()
    for node in report.nodes:
        sizes[node.each_bytes] += node.count
    assert report.saved.bytes == sum(size * count for size, count in sizes.items())
    return sizes
