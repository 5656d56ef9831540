"""A saved report with a field that is missing, or of another kind, is refused by that field's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graphmem.cli import main
from graphmem.errors import UsageError
from graphmem.report.diff import diff

REPORT: dict[str, Any] = {
    "graphmem": "0",
    "format": 1,
    "name": "n",
    "target": "t",
    "settings": {},
    "symbols": {"s": 3},
    "saved": {"bytes": 3, "expr": "s"},
    "alive": {"bytes": 3},
    "modules": [{"module": "a", "own_bytes": 3}],
    "attention": [{"module": "a", "kernel": "eager"}],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("target", 3),
        ("settings", "x"),
        ("settings", {"dtype": 3}),
        ("symbols", "x"),
        ("symbols", {"s": "3"}),
        ("symbols", {"s; import os": 3}),
        ("symbols", {"s": 10**400}),
        ("saved", 3),
        ("saved", {"bytes": 3}),
        ("saved", {"bytes": 1e300, "expr": "s"}),
        ("saved", {"bytes": 10**400, "expr": "s"}),
        ("saved", {"bytes": 3, "expr": 3}),
        ("alive", {"bytes": "x"}),
        ("alive", {"bytes": True}),
        ("modules", {"a": 3}),
        ("modules", [{"module": None, "own_bytes": 3}]),
        ("modules", [{"module": "a", "own_bytes": -1}]),
        ("attention", [{"module": ["a"], "kernel": "eager"}]),
        ("attention", [3]),
    ],
)
def test_a_field_of_another_kind(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"'{field}' is not what graphmem writes"):
        diff({**REPORT, field: value}, REPORT)
    with pytest.raises(UsageError, match=f"'{field}' is not what graphmem writes"):
        diff(REPORT, {**REPORT, field: value})


@pytest.mark.parametrize("field", sorted({*REPORT} - {"graphmem", "format"}))
def test_a_field_that_is_missing(field: str) -> None:
    with pytest.raises(UsageError, match=f"'{field}' is missing"):
        diff({name: value for name, value in REPORT.items() if name != field}, REPORT)


@pytest.mark.parametrize("expr", ["s/0", "((s+1)**16)**16", "1/(s - 3)", "x", "9" * 5000])
def test_an_expression_that_is_none(expr: str) -> None:
    with pytest.raises(UsageError, match="changed by hand"):
        diff({**REPORT, "saved": {"bytes": 3, "expr": expr}}, REPORT)


def test_names_of_others_are_shown_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "a\x1b[31m\n::error file=model.py::from a report"
    rows = {"modules": [{"module": bad, "own_bytes": 9}], "attention": [{"module": bad, "kernel": bad}]}
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    files[0].write_text(json.dumps(REPORT))
    files[1].write_text(json.dumps({**REPORT, "name": bad, "target": bad, "settings": {bad: bad}, **rows}))
    assert main(["diff", *map(str, files)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a\\x1b[31m\\n" in out
    assert not any(line.lstrip().startswith("::") for line in out.splitlines())
