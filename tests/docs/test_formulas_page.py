"""docs/formulas.md: every formula in it comes out of the command beside it. `--overwrite` writes what comes out."""

import re
import shlex

import pytest

import graphmem
from graphmem.symbolic.text import formula
from support.repo import ROOT
from support.reports import as_keywords

pytestmark = pytest.mark.page


PAGE = ROOT / "docs" / "formulas.md"
ROW = re.compile(
    r"^(\|.* )?\| (saved|alive|attention|module [^ |]+) \| `([^`]*)` \| `graphmem analyze ([^`]+)` \|$", re.M
)
ROWS = [match.groups()[1:] for match in ROW.finditer(PAGE.read_text())]


@pytest.fixture(scope="module")
def reports():
    return {}


def current(what, command, reports):
    if command not in reports:
        target, *words = shlex.split(command)
        reports[command] = graphmem.analyze(target, **as_keywords(words))
    report = reports[command]
    if what in ("saved", "alive"):
        return formula(getattr(report, what).expr, report.symbols, report.depth)
    if what == "attention":
        (row,) = report.attention
        return formula(row.each, report.symbols)
    (row,) = (m for m in report.modules if m.path == what.removeprefix("module "))
    return formula(row.each, report.symbols)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "shown", "command"), ROWS, ids=[f"{c} {w}" for w, _, c in ROWS])
def test_formula_is_what_comes_out(what, shown, command, reports, request, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    fresh = current(what, command, reports)
    if request.config.getoption("--overwrite"):
        old, new = (f"| {what} | `{text}` | `graphmem analyze {command}` |" for text in (shown, fresh))
        PAGE.write_text(PAGE.read_text().replace(old, new))
    else:
        assert fresh == shown


def test_the_published_ones_are_there() -> None:
    text = PAGE.read_text()
    assert len(ROWS) >= 25
    shown = {(what, formula) for what, formula, _ in ROWS}
    assert ("attention", "12sbh + 4as²b") in shown
    assert ("attention", "6sbh + 6as²b") in shown
    assert ("module 1.mlp", "19sbh") in shown
    assert any(f.startswith("11sbh + 5as²b") for w, f in shown if w == "module 1.attention")
    assert any(f.startswith("34sbh + 5as²b") for w, f in shown if w == "module 1")
    assert any(f.startswith("10sbh + 4abs") for w, f in shown if w == "saved")
    assert any(f.startswith("12sbh + 4abs") for w, f in shown if w == "alive")
    assert "2205.05198" in text
