"""Which points prove a formula, and what is no proof; which symbols are moved for it, alone or together."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from graphmem.accounts.saved import sort_storages
from graphmem.analysis.tracer import Tracer
from graphmem.errors import ModelError
from graphmem.how import read_how
from graphmem.load import subject_of, wishes_of
from graphmem.points import Point
from graphmem.record import Trace
from graphmem.symbolic.derive import _held_out, _together, derive
from graphmem.symbolic.problem import Problem
from support.stacks import Layer, Stack, inputs, stack


def problem_of(model, inputs, **working: int) -> Problem:
    subject = subject_of(model, inputs, None, wishes_of(None, None, None, None, False))
    return Problem(
        tracer=Tracer(subject, read_how({"gpu": "h100", "device": "cpu"})),
        account=sort_storages,
        working={**subject.symbols, **working},
        model_symbols=subject.model_symbols,
    )


def refusing(problem: Problem, refused) -> Problem:
    """The same model, but it does not run at some points."""

    def traced(point: Point) -> Trace:
        if refused(point):
            raise ModelError("not there")
        return problem.tracer(point)

    return replace(problem, tracer=traced)


@pytest.mark.parametrize(
    ("layers", "period", "proof"), [(1, 1, 4), (3, 1, 4), (6, 1, 6), (12, 1, 7), (12, 2, 8), (48, 3, 12)]
)
def test_one_proof_has_more_layers_than_anything_before_it(layers, period, proof) -> None:
    """Up to 7 as the model has them, but at least two periods more than the two of the base."""
    derived = derive(problem_of(stack, inputs, L=layers), {"L": period})
    assert derived is not None
    assert derived.exact
    assert derived.proofs[0]["L"] == proof
    assert all(point["L"] <= 2 * period for point in derived.proofs[1:])


class Late(Stack):
    """The fourth layer is the first that keeps something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = x.sigmoid().tanh() if i > 2 else x
        return x


def late(h=16, f=32, L=12):
    return Late(Layer(h, f) for _ in range(L))


def test_a_proof_that_fails_says_where() -> None:
    derived = derive(problem_of(late, inputs), {"L": 1})
    assert derived is not None
    assert not derived.exact
    assert derived.missed is not None
    assert derived.missed.point["L"] == 7


def test_a_proof_that_does_not_run_is_none() -> None:
    derived = derive(refusing(problem_of(stack, inputs), lambda point: point["L"] > 3), {"L": 1})
    assert derived is not None
    assert {"b", "s", "h", "f"} <= {*derived.moved}
    assert not derived.exact


def one(h=16, f=32):
    return Layer(h, f)


def test_without_a_point_at_which_all_is_moved_nothing_is_proved() -> None:
    problem = problem_of(one, inputs)
    alone = refusing(problem, lambda point: sum(point[n] != v for n, v in problem.working.items()) > 1)
    derived = derive(alone, {})
    assert derived is not None
    assert {*derived.moved} == {"b", "s", "h", "f"}
    assert derived.proofs == ()
    assert not derived.exact


def test_a_size_of_one_is_moved_too() -> None:
    derived = derive(problem_of(one, inputs, b=1), {})
    assert derived is not None
    assert "b" in derived.moved


class Last(nn.Module):
    """A state that goes from position to position: every turn keeps the same, whatever the length is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros_like(x[:, 0])
        for i in range(x.shape[1]):
            state = torch.tanh(state * 0.9 + x[:, i])
        return state


def test_a_length_that_only_counts_turns_is_moved_by_every_proof() -> None:
    problem = problem_of(lambda: Last(), lambda b=2, s=12, h=16: (torch.randn(b, s, h, requires_grad=True),))
    derived = derive(problem, {})
    assert derived is not None
    assert derived.exact
    assert {*derived.symbols} == {"b", "s", "h"}
    assert all(point["s"] > 12 for point in derived.proofs)


def there(**point: int) -> Any:
    return SimpleNamespace(point={"b": 2, "s": 8, "L": 2, "L_e": 4, **point})


def proposed(**fields: object) -> Any:
    given = {"base": there().point, "moved": {"b", "s"}, "depth": ("L",), "apart": (), "skipped": ()}
    return SimpleNamespace(**{**given, **fields})


NEXT = [there(b=3, s=9), there(b=4, s=10), there(b=5, s=11)]


def test_a_point_that_told_expressions_apart_is_a_proof_only_where_all_is_moved() -> None:
    probes: Any = SimpleNamespace(base=there().point)

    def points(*apart: Any) -> list[Point]:
        return _held_out(proposed(apart=apart), probes, iter(NEXT))

    first, second, _ = (x.point for x in NEXT)
    assert points() == [first, second]
    assert points(there(b=7)) == [first, second]
    assert points(there(b=7, s=7), there(b=7)) == [first, second]
    assert points(there(b=6, s=6), there(b=7, s=7)) == [there(b=7, s=7).point, first, second]


def test_layers_that_are_not_in_the_formula_are_all_there_in_a_proof() -> None:
    """The probes may have been made with one layer of each kind: L is set by its own proof, L_e is not moved."""
    probes: Any = SimpleNamespace(base={**there().point, "L": 1, "L_e": 1})
    for point in _held_out(proposed(), probes, iter([there(b=3, s=9, L=1, L_e=1)])):
        assert (point["L"], point["L_e"]) == (1, 4)


def test_where_no_symbol_moves_a_size_the_base_is_the_proof_unless_something_was_not_tried() -> None:
    probes: Any = SimpleNamespace(base=there().point)
    assert _held_out(proposed(moved={}), probes, iter(NEXT)) == [there().point]
    assert _held_out(proposed(moved={}, skipped=("s",)), probes, iter(NEXT)) == []


class Pairs:
    """Probes that know which symbols move with which, and remember what they were asked."""

    def __init__(self, base: Point, *accepted: tuple[str, str]) -> None:
        self.base, self.accepted = base, accepted
        self.asked: list[tuple[str, str]] = []
        self.follows: dict[str, list[str]] = {}

    def moved_together(self, name: str, other: str) -> object:
        self.asked.append((name, other))
        if (name, other) not in self.accepted:
            return None
        self.follows.setdefault(other, []).append(name)
        return (name, other)


def test_symbols_of_equal_size_are_tried_together_first() -> None:
    probes: Any = Pairs({"h": 64, "a": 4, "k": 4}, ("a", "k"), ("h", "k"))
    assert _together(probes, ["h", "a", "k"])["a"] == ("a", "k")
    assert probes.asked[0] == ("a", "k")


def test_what_follows_does_not_lead_and_what_leads_does_not_follow() -> None:
    probes: Any = Pairs({"a": 4, "h": 64, "d": 16}, ("a", "h"), ("d", "h"), ("h", "a"), ("h", "d"), ("d", "a"))
    assert _together(probes, ["a", "h", "d"]) == {"a": ("a", "h"), "d": ("d", "h")}
    assert probes.follows == {"h": ["a", "d"]}
    assert probes.asked == [("a", "h"), ("d", "h")]


def test_not_every_pair_is_tried() -> None:
    names = list("abcdef")
    probes: Any = Pairs({n: 2 + i for i, n in enumerate(names)})
    assert _together(probes, names) == {}
    assert len(probes.asked) == 12
