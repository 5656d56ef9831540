"""The search for wrong formulas finds one that is planted, says it once and small, and finds none elsewhere."""

from __future__ import annotations

import ast
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from graphmem.load import Subject, from_factories
from measure.search import Case, Summary, kind_of, search, smallest, targets_of
from measure.search_check import Beside, Found, SlowError, analysed, check, compare, within
from measure.search_models import Made, made
from measure.search_points import PRIMES, Room, fewest
from support.repo import ROOT

H = 16


class _Cliff(nn.Module):
    """Keeps more at lengths that no derivation tries: a wrong formula that nothing but a lucky point shows."""

    def __init__(self, h: int, at: tuple[int, ...]) -> None:
        super().__init__()
        self.linear, self.at = nn.Linear(h, h), at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x).sin()
        return x.sin().sin() if x.shape[1] in self.at else x


def subject(*at: int) -> Callable[[], Subject]:
    def model(h: int = H) -> nn.Module:
        return _Cliff(h, at)

    def inputs(b: int = 2, s: int = 64, h: int = H) -> tuple[torch.Tensor, ...]:
        return (torch.randn(b, s, h),)

    return lambda: from_factories(model, inputs, name="cliff")


@pytest.mark.slow
def test_a_planted_wrong_formula_is_found_by_chance() -> None:
    found = check(subject(*PRIMES[-12:]), {}, random.Random(1), points=30)
    assert found.proved
    assert found.equal
    assert found.wrong
    assert all(one.point["s"] in PRIMES for one in found.wrong)


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is_wrong() -> None:
    found = check(subject(), {}, random.Random(1), points=12)
    assert (found.equal, found.wrong, found.refused) == (12, [], [])


def test_a_wrong_point_says_what_differs_with_few_symbols_moved() -> None:
    report, found = analysed(subject(131), {}), Found()
    compare(Beside.of(report), {"b": 5, "h": 24, "s": 131}, found)
    (wrong,) = found.wrong
    assert wrong.point == {"s": 131}
    more = 2 * (2 * 131 * H) * 4  # two more inputs of sin; the output of the last is not kept by a node
    assert wrong.expected["saved"] == wrong.got["saved"] + more
    assert {(op, "x.sin().sin()" in line, formula) for op, line, formula in wrong.lines} == {
        ("output: aten.sin.default", False, "4*b*h*s"),
        ("saved: aten.sin.default", False, ""),
        ("saved: aten.sin.default", True, ""),
        ("output: aten.sin.default", True, ""),
    }
    assert "aten.sin.default at return x.sin().sin()" in kind_of(wrong)


def test_refusals_are_apart_from_what_the_model_refuses() -> None:
    report, found = analysed(subject(), {}), Found()
    object.__setattr__(report, "_live", _Refusing(report._live))
    compare(Beside.of(report), {"s": 100}, found)
    assert found.refused == [({"s": 100}, "no N")]
    assert not found.equal


class _Refusing:
    """The model behind a report that takes no other point."""

    def __init__(self, live: object) -> None:
        self.analysis = live.analysis  # type: ignore[attr-defined]

    def at(self, symbols: dict[str, int]) -> None:
        from graphmem.errors import SymbolError

        raise SymbolError(f"no {symbols['s']}")


def test_what_takes_too_long_ends() -> None:
    with pytest.raises(SlowError):
        within(subject()(), -1).build({"b": 2, "s": 64, "h": H})


def test_sizes_that_are_not_in_the_formula_move_too() -> None:
    def model(h: int = H, style: int = 2) -> nn.Module:
        return _Cliff(h, (64,) if style == 3 else ())

    def inputs(b: int = 2, s: int = 64, h: int = H) -> tuple[torch.Tensor, ...]:
        return (torch.randn(b, s, h),)

    report = analysed(lambda: from_factories(model, inputs, name="style"), {})
    assert "style" in Room.of(report).free


def test_a_crash_of_graphmem_is_counted() -> None:
    def crashes(_chance: random.Random) -> Found:
        raise AttributeError("no such thing")

    summary = Summary()
    search([(1, Case("x", "", crashes))], summary, models=1, seconds=60)
    assert summary.failed == {"CRASH AttributeError('no such thing')": 1}


def test_points_stay_within_the_limits() -> None:
    room = Room(
        working={"s": 64, "L": 4, "v": 100},
        free=("s", "L"),
        limits=(("s", 16, None, 8, None), ("s", None, 128, None, None), ("L", None, None, 2, None)),
        layers={"L"},
    )
    drawn = [room.draw(random.Random(seed)) for seed in range(200)]
    lengths, layers = ({p[n] for p in drawn if n in p} for n in ("s", "L"))
    assert len(lengths) > 5
    assert all(16 <= s <= 128 and s % 8 == 0 for s in lengths)
    assert len(layers) > 2
    assert all(L % 2 == 0 for L in layers)
    assert not any("v" in point or point.get("s") == 64 for point in drawn)


def test_most_points_keep_what_divides_what() -> None:
    room = Room(working={"h": 64, "a": 4}, free=("h", "a"))
    drawn = [{**room.working, **room.draw(random.Random(seed))} for seed in range(200)]
    assert 140 < sum(p["h"] % p["a"] == 0 for p in drawn) < 200


def test_the_fewest_symbols_that_are_wrong() -> None:
    assert fewest({"a": 1, "b": 2, "c": 3}, lambda p: p.get("b") == 2) == {"b": 2}


@pytest.mark.slow
def test_made_models_are_files_of_their_own_and_the_same_for_a_seed() -> None:
    for seed in range(30):
        model = made(seed)
        names = {n.name for n in ast.parse(model.source).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        assert {"model", "inputs"} <= names
        assert model == made(seed)
        for less in model.smaller():
            ast.parse(less.source)


def test_the_smallest_is_what_is_still_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    model = next(m for m in map(made, range(100)) if len(m.kinds) == 2 and len(m.kinds[0]) == 2)
    part = model.kinds[0][0]

    def still(less: Made, _point: object, _folder: Path) -> bool:
        return any(part in kind for kind in less.kinds)

    monkeypatch.setattr("measure.search._still_wrong", still)
    small = smallest(model, {}, 25)
    assert small.kinds == ((part,),)
    assert (small.norm, small.options, small.dtype) == ("nn.Identity()", (), "")


@pytest.mark.slow
def test_a_cause_is_said_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def checked(_chance: random.Random) -> Found:
        report, found = analysed(subject(131), {}), Found(proved=True)
        for b in (2, 3):
            compare(Beside.of(report), {"b": b, "s": 131}, found)
        return found

    summary = Summary()
    search([(7, Case("cliff", "--seed 7", checked))] * 2, summary, models=5, seconds=60, file=tmp_path / "found.json")
    assert (summary.models, summary.proved, summary.points, len(summary.wrong)) == (2, 2, 4, 4)
    assert capsys.readouterr().out.count("WRONG") == 1
    assert '"--seed 7"' in (tmp_path / "found.json").read_text()
    assert "4 WRONG" in summary.text()


def test_targets_in_a_file() -> None:
    assert targets_of(ROOT / "samples" / "gpt2.py") == [str(ROOT / "samples" / "gpt2.py")]
    kernels = targets_of(ROOT / "samples" / "kernels.py")
    assert f"{ROOT}/samples/kernels.py:eager" in kernels
    assert not any(target.endswith((":block", ":causal", ":by")) for target in kernels)


@pytest.mark.slow
def test_the_command() -> None:
    command = [sys.executable, "tests/measure/search.py", "--source", "made", "--seed", "3", "--models", "2"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode in (0, 1), ended.stderr
    assert "2 models" in ended.stdout
