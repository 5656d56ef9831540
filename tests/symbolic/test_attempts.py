"""Which derivations are tried, in what order, and which one is taken: with derivations that are made up."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import sympy

from graphmem.errors import GraphmemError, ModelError
from graphmem.points import Point
from graphmem.symbolic import strategy
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.strategy import (
    WORTH_CHECKING,
    _around,
    _derived,
    _folded,
    _from_beside,
    _from_few_or_all,
    _from_short,
)
from support.made_up import MadeUp, Traces, searched

LAYERS = "the layers that L counts"


def folded(derived: Derivation | None, tracer: Traces | None = None, working: int = 9, **fields: object) -> object:
    return _folded(searched(lambda *_, **__: derived, tracer, depth={"L": 1}, **fields), {"L": working}, frozenset())


@pytest.mark.parametrize(
    ("counted", "why"), [(True, f"no formula was found for {LAYERS}"), (False, f"{LAYERS} are not alike")]
)
def test_without_a_formula_layers_are_only_unlike_where_they_cannot_be_counted(counted, why, monkeypatch) -> None:
    monkeypatch.setattr(strategy, "are_counted", lambda problem, depth: counted)
    assert folded(None) == why


def few(**fields: object) -> MadeUp:
    return MadeUp(**{"base": {"L": 2}, "depth": ("L",), **fields})


def test_layers_that_a_random_number_drops_are_not_folded() -> None:
    drew = few(trace=SimpleNamespace(ops=range(9), drew=True))
    assert folded(drew) == f"a random number decides about {LAYERS}"


def test_a_formula_that_failed_is_blamed_on_the_layers_only_where_fewer_of_them_keep_what_it_says() -> None:
    missed = SimpleNamespace(point={"L": 7, "b": 3})
    not_held = f"the formula from the first of {LAYERS} did not hold"
    assert folded(few(exact=False)) == not_held
    assert folded(few(exact=False, missed=missed, right=lambda point: False)) == not_held
    assert (
        folded(few(exact=False, missed=missed, right=lambda point: point == {"L": 2, "b": 3}))
        == f"{LAYERS} are not alike"
    )


@pytest.mark.parametrize("fields", [{"proofs": ()}, {"lacks": True}])
def test_what_has_no_formula_or_no_proof_does_not_speak_against_the_layers(fields) -> None:
    derived = few(exact=False, **fields)
    assert folded(derived) is derived


def test_all_layers_are_traced_to_see_where_that_is_cheap_or_matters() -> None:
    per_layer = 10
    large = {
        "trace": SimpleNamespace(ops=range(2 * per_layer), drew=False),
        "deeper": {"L": SimpleNamespace(ops=range(3 * per_layer), point={"L": 3})},
    }
    many = WORTH_CHECKING // per_layer
    alike, unlike = few(**large), few(**large, right=lambda point: False)
    for working, fields, looked in (
        (many, {}, True),
        (many + 1, {}, False),
        (many + 1, {"full_depth": True}, True),
        (many + 1, {"tracer": Traces(finished=True)}, True),
        (1, {}, True),
    ):
        assert folded(alike, working=working, **fields) is alike
        assert folded(unlike, working=working, **fields) == (f"{LAYERS} are not alike" if looked else unlike)


def test_a_single_layer_is_always_looked_at_however_long_it_is() -> None:
    long = SimpleNamespace(ops=range(9 * WORTH_CHECKING), drew=False)
    derived = few(trace=long, deeper={"L": SimpleNamespace(ops=long.ops, point={"L": 3})}, right=lambda point: False)
    assert folded(derived, working=2) is derived
    assert folded(derived, working=1) == f"{LAYERS} are not alike"


def test_a_model_that_does_not_run_with_few_layers_is_traced_with_all() -> None:
    def derive(_working: Point, depth: dict[str, int], **_: object) -> Derivation:
        if depth:
            raise ModelError("too few")
        return MadeUp(exact=True)

    why = f"the model does not run with few of {LAYERS}"
    assert _from_few_or_all(searched(derive, depth={"L": 1}), {"L": 9})[1] == why
    assert _around(searched(derive, depth={"L": 1}), {"L": 9})[1] == [f"{why}: all of them were traced"]


@pytest.mark.parametrize(("drew", "without"), [(True, {"h", "L"}), (False, {"h"})])
def test_where_a_draw_decides_all_layers_are_traced_and_their_number_is_left_out(drew, without) -> None:
    asked = []

    def derive(_working: Point, depth: dict[str, int], *, without: frozenset[str]) -> Derivation | None:
        asked.append((dict(depth), set(without)))
        return None if depth else MadeUp()

    search = searched(derive, Traces(drew=drew), depth={"L": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategy, "are_counted", lambda problem, depth: False)
        _from_few_or_all(search, {"L": 9}, without=frozenset("h"))
    assert asked == [({"L": 1}, {"h"}), ({}, without)]


def test_of_derivations_without_some_symbols_the_first_clear_one_is_taken(monkeypatch) -> None:
    monkeypatch.setattr(strategy, "spoiling", lambda derived: [frozenset(names) for names in ("a", "h", "f")])
    made = {"": MadeUp(exact=False), "a": MadeUp(exact=False), "h": MadeUp(unclear=("f",)), "f": MadeUp()}
    asked = []

    def derive(_working: Point, _depth: object, *, without: frozenset[str]) -> Derivation:
        asked.append("".join(without))
        return made["".join(without)]

    assert _around(searched(derive), {"b": 2}) == (made["f"], [])
    assert asked == ["", "a", "h", "f"]
    asked.clear()
    made[""] = MadeUp()
    assert _around(searched(derive), {"b": 2})[0] is made[""]
    made[""] = MadeUp(exact=False, skipped=("b",), refused=("b",))
    assert _around(searched(derive), {"b": 1})[0] is made[""]
    assert asked == ["", ""]  # what costs too much is not tried again, without symbols or beside


@pytest.mark.parametrize("fields", [{"refused": ("b",)}, {"exact": False, "doubtful": ("s",)}])
def test_a_point_beside_is_tried_for_what_refuses_to_move_and_for_what_is_not_proved(fields, monkeypatch) -> None:
    monkeypatch.setattr(strategy, "spoiling", lambda derived: [])
    monkeypatch.setattr(strategy, "_from_beside", lambda *_: (MadeUp(), ["beside"]))
    assert _around(searched(lambda *_, **__: MadeUp(**fields)), {"b": 1, "s": 8})[1] == ["beside"]
    assert _around(searched(lambda *_, **__: MadeUp()), {"b": 1, "s": 8})[1] == []


WORKING = {"b": 1, "s": 64, "t": 2, "h": 16, "f": 1}


def beside(derive: Callable[..., Derivation | None], **fields: object) -> tuple[list[Point], Derivation, list[str]]:
    asked = []

    def derived(working: Point, _depth: object) -> Derivation | None:
        asked.append({n: v for n, v in working.items() if WORKING[n] != v})
        return derive(working)

    stays = MadeUp(base=WORKING, **fields)
    found, said = _from_beside(searched(derived), stays, WORKING)
    return asked, found, said


def test_sizes_of_one_become_two_before_inputs_become_longer() -> None:
    asked, found, said = beside(lambda _: None, refused=("b", "s", "h"), doubtful=("s", "b"))
    assert asked == [{"b": 2}, {"s": 2 * 64 + 149}]
    assert found.base is WORKING
    assert said == []
    assert beside(lambda _: None, refused=("h",))[0] == []  # a size of the model is no input
    assert beside(lambda _: None, refused=("f",))[0] == [{"f": 2}]
    assert beside(lambda _: None, refused=("t",))[0] == [{"t": 2 * 2 + 149}]
    assert beside(lambda _: None, doubtful=("s",))[0] == [{"s": 2 * 64 + 149}]


def test_the_derivation_beside_is_taken_where_it_is_proved_and_holds_at_the_working_point() -> None:
    other = MadeUp(base={**WORKING, "b": 2}, right=lambda point: point == WORKING)
    assert beside(lambda _: other, refused=("b",))[1:] == (other, [])
    longer = MadeUp(base={**WORKING, "s": 277}, right=lambda point: point == WORKING)
    found = beside(lambda working: longer if working["s"] > 64 else None, refused=("b", "s"))[1]
    assert found is longer
    for wrong in (MadeUp(exact=False), MadeUp(refused=("b",)), MadeUp(unclear=("b",))):
        assert beside(lambda _, wrong=wrong: wrong, refused=("b",))[1].base is WORKING


def test_a_model_that_does_not_run_beside_is_tried_on() -> None:
    def derive(working: Point) -> Derivation:
        if working["b"] == 2:
            raise ModelError("only one")
        return longer

    longer = MadeUp(base={**WORKING, "s": 277})
    assert beside(derive, refused=("b", "s"))[1] is longer


def test_a_formula_that_holds_only_beside_is_said() -> None:
    groups = tuple(
        SimpleNamespace(
            size=sympy.Symbol(size, positive=True, integer=True),
            count=SimpleNamespace(expr=sympy.Integer(3)),
            key=SimpleNamespace(table=table),
        )
        for size, table in (("b", "saved"), ("h", "beside it"))
    )
    other = MadeUp(base={**WORKING, "b": 2}, groups=groups, right=lambda point: False)
    _, found, said = beside(lambda _: other, refused=("b",))
    assert found.base is WORKING
    assert said == ["at b=2 different operators run: saved = 3b, proved at that point"]


@pytest.mark.parametrize(
    ("far", "taken"),
    [
        (MadeUp(base={"P": 900, "s": 8}, right=lambda point: point == {"P": 64, "s": 8}), True),
        (MadeUp(base={"P": 900, "s": 8}, right=lambda point: False), False),
        (MadeUp(exact=False), False),
        (MadeUp(refused=("P",)), False),
        (None, False),
    ],
)
def test_a_limit_is_moved_far_away_where_that_holds_at_the_working_point(far, taken, monkeypatch) -> None:
    def around(_search: object, working: Point) -> tuple[Derivation, list[str]]:
        assert working["s"] == 8
        if working["P"] == 64:
            return near, ["near"]
        if far is None:
            raise GraphmemError("does not run there")
        return far, ["far"]

    near = MadeUp()
    monkeypatch.setattr(strategy, "_around", around)
    monkeypatch.setattr(strategy, "far_limits", lambda *_: {"P": 900})
    found = _derived(searched(lambda *_: None), {"P": 64, "s": 8})
    assert found == ((far, ["far"]) if taken else (near, ["near"]))
    monkeypatch.setattr(strategy, "far_limits", lambda *_: {})
    assert _derived(searched(lambda *_: None), {"P": 64, "s": 8}) == (near, ["near"])


def short(monkeypatch, working: Point, long: Callable[[Point], bool], right: Callable[[Point], bool], **fields: object):
    """At which points is derived, and what is found."""
    asked = []

    def derived(_search: object, point: Point) -> tuple[Derivation, list[str]]:
        asked.append({n: v for n, v in point.items() if working[n] != v})
        assert point.keys() == working.keys()
        return MadeUp(base=point, right=right, **fields), ["noted"]

    monkeypatch.setattr(strategy, "_derived", derived)
    return asked, _from_short(searched(lambda *_: None, Traces(long=long)), working)


def test_a_long_input_is_derived_at_a_short_length_and_checked_at_the_next(monkeypatch) -> None:
    def long(point: Point) -> bool:
        return point["s"] > 3000 and point["h"] > 3000

    working = {"b": 9000, "s": 8000, "h": 10_000}
    asked, found = short(monkeypatch, working, long, lambda point: point == {**working, "s": 300})
    assert asked == [{"s": 24}]  # a smaller b is as long, and h is no input
    assert found is not None
    assert found[1] == ["noted", "s=8000: extrapolated from s=24, checked at s=300"]
    asked, found = short(monkeypatch, working, long, lambda point: point["s"] > 2500)
    assert asked == [{"s": 24}, {"s": 300}, {"s": 2500}]
    assert found is not None
    assert found[1][-1].endswith("from s=2500, checked at s=8000")
    asked, found = short(monkeypatch, working, long, lambda point: True, unclear=("s",))
    assert found is None
    assert len(asked) == 3
    assert short(monkeypatch, {**working, "s": 600}, lambda point: point["s"] > 500, lambda _: False)[0] == [{"s": 24}]
    assert short(monkeypatch, {**working, "s": 48}, lambda point: point["s"] > 40, lambda _: True) == ([], None)
    assert short(monkeypatch, working, lambda _: False, lambda _: True) == ([], None)


def test_of_several_inputs_the_longest_is_shortened_first(monkeypatch) -> None:
    def long(point: Point) -> bool:
        return point["s"] + point["t"] > 9000

    asked, _ = short(monkeypatch, {"s": 5000, "t": 6000}, long, lambda _: False)
    assert [*asked[0], *asked[-1]] == ["t", "s"]
    assert len(asked) == 5  # t at all three lengths, s not at 2500, which is half of it
