"""Where to derive: what a trace of all layers would cost, what counts as long and as proved; and what is said where the
formula does not come from a few layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sympy
import torch
from torch import nn

import graphmem
from graphmem.errors import ModelError, TooLongError
from graphmem.symbolic import strategy
from graphmem.symbolic.bounds import Bound, Multiple
from graphmem.symbolic.notes import About, Note
from graphmem.symbolic.strategy import (
    LONG,
    _fixed,
    _is_long,
    _operators,
    _proved,
    _untold,
    _worth_bounding,
    derive_for,
)
from support.made_up import MadeUp, searched
from support.slow import first_of


def ops(n: int) -> Any:
    return SimpleNamespace(ops=range(n))


def test_operators_of_all_layers_are_counted_from_two_depths() -> None:
    """7 operators around, 5 in each decoder layer, 4 and 6 in each pair of encoder layers that take turns."""

    def of(decoder: int, encoder: int) -> int:
        return 7 + 5 * decoder + 10 * encoder // 2

    derived: Any = SimpleNamespace(
        base={"L": 2, "L_e": 4, "b": 2},
        trace=ops(of(2, 4)),
        deeper={"L": ops(of(3, 4)), "L_e": ops(of(2, 6))},
        periods={"L": 1, "L_e": 2},
    )
    for decoder, encoder in ((2, 4), (3, 4), (12, 24), (1, 2)):
        assert _operators(derived, {"L": decoder, "L_e": encoder, "b": 2}) == of(decoder, encoder)


@pytest.mark.parametrize(("error", "long"), [(TooLongError("x"), True), (ModelError("x"), False), (None, False)])
def test_only_too_many_operators_are_long(error: Exception | None, long: bool) -> None:
    def limited(_point: dict[str, int]) -> None:
        if error is not None:
            raise error

    assert _is_long(limited, {}) is long  # type: ignore[arg-type]


def test_a_formula_is_proved_for_the_names_that_are_in_it() -> None:
    derived: Any = SimpleNamespace(exact=True, fixed=("s",))
    assert _proved(derived, ["b"])
    assert not _proved(derived, ["b", "s"])
    derived.exact = False
    assert not _proved(derived, ["b"])


def test_bounds_are_looked_for_where_a_proved_formula_moves_and_a_trace_is_short() -> None:
    right = {"exact": True, "moved": {"s": 1}, "skipped": (), "trace": ops(LONG)}
    assert _worth_bounding(SimpleNamespace(**right))  # type: ignore[arg-type]
    for wrong in ({"exact": False}, {"moved": {}}, {"skipped": ("b",)}, {"trace": ops(LONG + 1)}):
        assert not _worth_bounding(SimpleNamespace(**{**right, **wrong}))  # type: ignore[arg-type]


def test_every_symbol_that_the_formula_lacks_is_named_once_with_its_reason() -> None:
    derived: Any = SimpleNamespace(
        base={"a": 1, "b": 2, "c": 3, "d": 4},
        refused=("a", "b", "c"),
        skipped=("b",),
        left_out=("c",),
        unclear=("d",),
        trace=ops(9),
    )
    said = list(_fixed(derived))
    assert [text.removeprefix("the formula is for ").partition(" only: ")[0] for text in said] == [
        "a=1", "c=3", "d=4", "b=2",
    ]  # fmt: skip
    assert "no other value was found" in said[0]
    assert "no formula was found" in said[1]
    assert "other operators run" in said[2]
    assert "9 operators" in said[3]


class Stack(nn.Module):
    """kind: what is special about it."""

    def __init__(self, h: int, depth: int, kind: str) -> None:
        super().__init__()
        self.layers, self.kind = nn.ModuleList(nn.Linear(h, h) for _ in range(depth)), kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.kind != "deep" or len(self.layers) > 5, "too few"
        for i, layer in enumerate(self.layers):
            last = i + 1 == len(self.layers)
            if self.kind == "dropped" and torch.rand([]) < 0.3 and not last:
                continue
            x = layer(x).sin().cos() if self.kind == "unlike" and i > 3 else layer(x).sin()
        return x


@pytest.mark.parametrize(
    ("kind", "said"),
    first_of(
        [
            ("plain", None),
            ("unlike", "the layers that L counts are not alike: all of them were traced"),
            ("deep", "the model does not run with few of the layers that L counts: all of them were traced"),
            ("dropped", "a random number decides about the layers that L counts: all of them were traced"),
        ]
    ),
)
def test_why_all_layers_were_traced(kind: str, said: str | None) -> None:
    def model(h=16, L=9):
        return Stack(h, L, kind)

    def inputs(b=2, h=16):
        return (torch.randn(b, h),)

    notes = graphmem.analyze(model, inputs, device="cpu").notes
    assert [note for note in notes if "were traced" in note] == ([said] if said else [])


def found(**fields: object) -> MadeUp:
    return MadeUp(**{"moved": {}, "multiples": (), "has_kernels": False, "follows": {}, "untold": (), **fields})


@pytest.mark.parametrize(("wanted", "full", "tried"), [(True, False, True), (False, False, False), (True, True, False)])
def test_a_shorter_input_is_only_tried_where_that_is_wanted(wanted, full, tried, monkeypatch) -> None:
    monkeypatch.setattr(strategy, "_from_short", lambda *_: (found(), ["short"]))
    monkeypatch.setattr(strategy, "_derived", lambda *_: (found(), ["as it is"]))
    _, _, notes = derive_for(searched(lambda *_: None, full_depth=full), {}, short=wanted)
    assert notes == [Note("short" if tried else "as it is")]


def test_expressions_that_no_trace_tells_apart_are_said_once_and_only_of_a_formula_that_holds() -> None:
    h, f, a = sympy.symbols("h f a", positive=True, integer=True)
    untold = ((h, f), (h, 2 * a * f - a * f), (f, 2 * a))
    (said,) = _untold(MadeUp(untold=untold), {"h": 8, "f": 8, "a": 4})
    assert "f or 2a, h or f:" in said
    assert not list(_untold(MadeUp(untold=untold, exact=False), {"h": 8, "f": 8, "a": 4}))
    assert not list(_untold(MadeUp(untold=()), {}))


def test_every_bound_is_given_and_said_with_what_else_there_is_to_say(monkeypatch) -> None:
    window, multiple = Bound("s", 512, up=True), Multiple("v", 8)
    monkeypatch.setattr(strategy, "find_bounds", lambda *_: (window,))
    monkeypatch.setattr(strategy, "may_be_one", lambda *_: ("a quotient",))
    monkeypatch.setattr(strategy, "replace", lambda one, **changes: vars(one).update(changes) or one)
    derived = found(
        base={"L": 2, "L_e": 4, "b": 2, "s": 64, "h": 8},
        moved={"s": 1},
        depth=("L", "L_e"),
        periods={"L": 1, "L_e": 2},
        multiples=(multiple,),
        refused=("b",),
        left_out=frozenset(),
        follows={"h": ["s"]},
        trace=SimpleNamespace(ops=range(9), notes=("of the trace",)),
        following=lambda name: 2 * sympy.Symbol("s", positive=True, integer=True),
    )
    monkeypatch.setattr(strategy, "_derived", lambda *_: (derived, ["of the search"]))
    search = searched(lambda *_: None, deepest={"L": 7, "L_other": 9})
    taken, bounds, notes = derive_for(search, {"s": 64, "h": 8}, short=False)
    assert taken is derived
    assert taken.ones == ("a quotient",)
    assert bounds == (Multiple("L_e", 2), multiple, Bound("L", 7, up=True), window)
    assert [note.text for note in notes] == [
        "of the trace",
        "of the search",
        "the formula holds for L_e a multiple of 2, v a multiple of 8, L <= 7, s <= 512; "
        "elsewhere other sizes are kept",
        "the formula assumes h = 2s: varied separately they run different operators or fail",
        "the formula is for b=2 only: no other value was found that runs the same operators",
    ]
    assert [note.about for note in notes[2:]] == [About.BOUNDS, About.FORMULA, About.FORMULA]


@pytest.mark.parametrize("kernels", [True, False])
def test_without_bounds_only_a_kernel_is_worth_a_word(kernels, monkeypatch) -> None:
    monkeypatch.setattr(strategy, "find_bounds", lambda *_: pytest.fail("nothing moves"))
    monkeypatch.setattr(strategy, "_derived", lambda *_: (found(has_kernels=kernels), []))
    _, bounds, notes = derive_for(searched(lambda *_: None), {}, short=False)
    assert bounds == ()
    assert ["attention runs the same kernels" in note.text for note in notes] == [True] * kernels
