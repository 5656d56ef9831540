"""docs/coverage.md and docs/data/coverage.md, by tests/measure/coverage.py: the totals are those of the rows."""

import re

import pytest

from support.repo import ROOT

pytestmark = pytest.mark.page

PAGE = "".join((ROOT / "docs" / name).read_text() for name in ("coverage.md", "data/coverage.md"))
ROWS = [tuple(cell.strip() for cell in row) for row in re.findall(r"^\| ([^|]*)\|([^|]*)\|([^|]*)\|$", PAGE, re.M)]


def _count(pattern):
    return int(re.search(pattern, PAGE)[1])


def _types():
    start = next(i for i, row in enumerate(ROWS) if row[0] == "model type")
    return ROWS[start + 2 :]


def test_totals():
    said = [outcome for _, _, outcome in _types()]
    reports = [one for one in said if re.match(r"[\d,]+( in float32)?(, (not )?proved)?$", one)]
    assert _count(r"All (\d+) model types") == len({name for name, _, _ in _types()})
    assert _count(r"tried, (\d+) of") == len(reports)
    if any("proved" in one for one in reports):
        assert _count(r"analysed, (\d+) of them") == sum(one.endswith(", proved") for one in reports)
    assert _count(r"(\d+) took more than") == sum(one.startswith("more than") for one in said)


def test_nothing_crashes():
    assert re.search(r", 0 crashed", PAGE)
    assert "CRASH" not in PAGE
