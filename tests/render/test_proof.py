"""Every format says the same of the proof."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import SymbolError
from graphmem.render import FORMATS
from graphmem.report import ReportData
from graphmem.symbolic.notes import About, Note
from support.oracle import real_saved

WORDS = ("proved: 0 bytes off", "not proved: no other", "NOT PROVED", "no formula: no size could be varied")


class Fixed(nn.Module):
    """Takes twelve numbers, and no others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(3, 4).sigmoid()


def _reports() -> dict[str, ReportData]:
    proved = graphmem.analyze(nn.Sigmoid(), torch.randn(4, 6, 8, requires_grad=True), device="cpu")
    off = replace(proved.verified, exact=False)
    return {
        "proved: 0 bytes off": proved,
        "not proved: no other": replace(proved, verified=replace(off, point=None, points=())),
        "NOT PROVED": replace(proved, verified=off),
        "no formula: no size could be varied": graphmem.analyze(Fixed(), torch.randn(3, 4, requires_grad=True)),
    }


@pytest.mark.parametrize("name", ["table", "markdown", "html", "latex", "python"])
def test_every_format_says_the_same_of_the_proof(name: str) -> None:
    for expected, report in _reports().items():
        written = FORMATS[name](report)
        assert isinstance(written, str)
        text = " ".join(written.split())
        assert [words for words in WORDS if words in text] == [expected]
        assert expected.startswith("proved") or "(proved" not in text


class Strange(nn.Module):
    """Keeps a vector whose length is `length` of the sizes of its input."""

    def __init__(self, length) -> None:
        super().__init__()
        self.o, self.length = nn.Linear(8, 8), length

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vector = x.new_ones(self.length(*x.shape[:3])) * x.flatten()[0]
        return self.o(x).sigmoid() * vector.exp().sum()


def _inputs(b=2, s=24, t=5):
    return (torch.randn(b, s, t, 8, requires_grad=True),)


def _analysed(length) -> tuple[nn.Module, graphmem.Report]:
    def model():
        return Strange(length)

    return model(), graphmem.analyze(model, _inputs, device="cpu")


def _chaos(b: int, s: int, t: int) -> int:
    """No two of the three alone give it."""
    return (b * s + s * t + b * t) * 2654435761 % 97 + 5


def _failing_at_a_later_point() -> tuple[nn.Module, graphmem.Report]:
    """Whatever is held out last keeps one number more."""
    special: set[tuple[int, ...]] = set()

    def length(*sizes: int) -> int:
        return 9 if sizes in special else 8

    for _ in range(5):
        model, report = _analysed(length)
        if not report.verified.exact:
            return model, report
        special.add(tuple(report.verified.points[-1][n] for n in "bst"))
    raise AssertionError("every time the formula was proved at other points")


def _text(report: graphmem.Report, name: str = "table") -> str:
    return " ".join(FORMATS[name](report).split())


def test_the_point_that_failed_is_named_with_both_numbers() -> None:
    model, report = _failing_at_a_later_point()
    missed = report.verified.missed
    assert missed is not None
    assert missed.point != report.verified.point
    there = _inputs(**missed.point)
    kept = sum(size * n for size, n in real_saved(model, there).items())
    assert missed.kept == kept
    assert missed.foretold == kept - 2 * 4  # the vector and its exp have one number less
    at = " ".join(f"{name}={missed.point[name]}" for name in report.symbols)
    said = f"NOT PROVED: at {at} forward keeps {kept:,} bytes for backward, and the formula gives {kept - 8:,}"
    assert said in _text(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "markdown"])
def test_what_has_no_formula_is_said_with_the_reason(name: str) -> None:
    model, report = _analysed(_chaos)
    assert report.saved.bytes == sum(size * n for size, n in real_saved(model, _inputs()).items())
    number = 2 * 4 * _chaos(2, 24, 5)
    text = _text(report, name)
    assert f"NOT PROVED: {number} B have no formula (" in text
    assert "the other 7.50 KiB have one" in text
    assert "the bytes at this point come from a trace" in text
    assert f"32sbt + 4 + ({number} at this point, no formula)" in text
    assert "%" not in text.partition("NOT PROVED")[2].partition(";")[0]


@pytest.mark.slow
@pytest.mark.parametrize("made", [lambda: _analysed(_chaos), _failing_at_a_later_point])
def test_a_formula_that_is_not_proved_gives_no_other_point(made) -> None:
    _, report = made()
    assert report.at(s=24).saved.bytes == report.saved.bytes
    with pytest.raises(SymbolError, match="not proved") as error:
        report.at(s=30)
    assert error.value.hint == "analyse again with s=30"
    with pytest.raises(SymbolError, match="not proved"):
        report.solve("s", budget="1GiB")


@pytest.mark.slow
def test_the_values_that_a_formula_is_for_stand_beside_it() -> None:
    """Without s the rest is proved: its numbers are those of s=24."""
    _, report = _analysed(lambda b, s, t: s * 2654435761 % 97 + 5)
    assert report.verified.exact
    assert ", for s=24 only proved" in _text(report)


def test_what_belongs_to_a_formula_is_known_by_its_kind() -> None:
    report = _reports()["proved: 0 bytes off"]
    notes = (Note("X holds for a reason", About.FORMULA), Note("the formula one of two", About.ANALYSIS))
    changed = replace(report, remarks=notes)
    assert changed.notes == (notes[0].text, notes[1].text)
    for name in ("latex", "python"):
        assert "X holds" in _text(changed, name)
        assert "one of two" not in _text(changed, name)
