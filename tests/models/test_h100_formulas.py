"""A formula made at one point gives what an H100 kept at another: 0 bytes off."""

import collections
import json

import pytest
import torch

import graphmem
from support import zoo
from support.h100 import ASSUMED, EXPLAINED, ROWS, backend_of
from support.reports import MEASURED

POINT = ("b", "s")
MADE = ("name", "cls", "task", "variant", "backend", "h", "a")


def pairs():
    """Rows of one model that differ in lengths and batch sizes alone: the first, and the others."""
    alike = collections.defaultdict(list)
    for row in ROWS:
        alike[json.dumps({k: row.get(k) for k in MADE}, sort_keys=True)].append(row)
    return [rows for rows in alike.values() if len(rows) > 1]


@pytest.mark.slow
@pytest.mark.parametrize("rows", pairs(), ids=lambda rows: zoo.label(rows[0]))
def test_the_formula_of_one_row_gives_the_others(rows) -> None:
    row, *others = rows
    with torch.device("meta"):
        module = zoo.build(row)
    assume = (
        {f"{file}:{line}": value for (file, line), value in ASSUMED[row["name"]].values.items()}
        if (row["name"] in ASSUMED)
        else {}
    )
    with backend_of(row):
        report = graphmem.analyze(module, zoo.inputs(row, "meta"), **MEASURED, assume=assume)
    assert report.verified.exact
    assert report.verified.share == 1
    for other in others:
        there = report.at(**{n: other[n] for n in POINT if n in report.symbols})
        assert there.alive.bytes == other["req_loss"]
        assert there.saved.bytes == other["saved_act"] or row["name"] in EXPLAINED
