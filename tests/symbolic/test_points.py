"""Points: as text and as keys; which to probe, what goes with what, and what is held out."""

import itertools

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import ModelError, SymbolError
from graphmem.memo import Memo
from graphmem.points import as_text
from graphmem.symbolic.points import Coincidence, coincidences, held_out, moves


def test_what_was_made_at_a_point_is_made_once_whatever_the_order() -> None:
    made = Memo()
    assert made.at({"b": 1, "s": 2}, lambda: "first") == "first"
    assert made.at({"s": 2, "b": 1}, lambda: "second") == "first"
    assert {"s": 2, "b": 1} in made
    assert {"s": 2} not in made


def test_what_could_not_be_made_is_tried_again() -> None:
    made = Memo()
    with pytest.raises(ZeroDivisionError):
        made.at({"b": 1}, lambda: 1 // 0)
    assert made.at({"b": 1}, lambda: 7) == 7


def test_what_the_model_refuses_is_not_tried_again() -> None:
    made, tries = Memo(), []
    made.at({"b": 8}, lambda: 7)

    def refuse() -> None:
        tries.append(1)
        raise ModelError("no", where="model.py:3", hint="yes")

    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            made.at({"b": 1}, refuse)
        assert str(caught.value) == str(ModelError("no", where="model.py:3", hint="yes"))
    assert tries == [1]


def test_a_point_as_text() -> None:
    assert as_text({"s": 8, "b": 2}) == "s=8 b=2"
    assert as_text({"s": 8, "b": 2}, ", ") == "s=8, b=2"
    assert as_text({}) == ""


def test_model_sizes_are_halved_first_and_inputs_made_odd() -> None:
    assert moves(64, shapes_model=True)[0] == 32
    assert moves(1024, shapes_model=False)[0] % 2 == 1


def test_held_out_points_keep_what_divides_what() -> None:
    base = {"b": 8, "s": 2048, "h": 2304, "a": 8, "k": 4, "h_a": 256}
    moved = {"b": 49, "s": 3109, "h": 1152, "a": 16, "k": 2, "h_a": 128}
    for point in itertools.islice(held_out(base, moved, frozenset({"h", "a", "k", "h_a"})), 4):
        assert all(point[n] not in (base[n], moved[n]) for n in base)
        assert point["a"] % point["k"] == 0
        assert point["a"] > base["a"]
        assert point["h_a"] < base["h_a"]


def test_held_out_points_are_the_same_every_time() -> None:
    base, moved = {"b": 8, "h": 64, "a": 4}, {"b": 49, "h": 32, "a": 2}
    one, other = ([*held_out(base, moved, frozenset({"h", "a"}))] for _ in range(2))
    assert one == other


@pytest.mark.parametrize("shapes_model", [False, True])
def test_a_size_moves_to_other_sizes_each_once(shapes_model) -> None:
    for value in range(1, 200):
        found = moves(value, shapes_model=shapes_model)
        assert len(found) == len({*found}) > 1
        assert all(v > 0 and v != value for v in found)
        assert min(found) < value or value == 1


@pytest.mark.parametrize("value", [8, 64, 1000, 1024])
def test_a_length_moves_beyond_what_kernels_round_to_and_keeps_its_divisors_next(value) -> None:
    odd, aligned = moves(value, shapes_model=False)[:2]
    assert odd > value + 32
    assert odd % 2 == 1
    assert aligned > value + 32
    assert aligned % 8 == 0


def test_coincidences_are_small_multiples_of_a_size_or_of_a_product_of_two() -> None:
    base = {"f": 64, "h": 16, "a": 4, "b": 1, "v": 1000}
    found = coincidences(base, list(base))
    assert set(found) == {
        *(Coincidence(size, others) for size in ("f",) for others in (("h",), ("a",), ("h", "a"), ("a", "a"))),
        *(Coincidence("h", others) for others in (("a",), ("a", "a"))),
        *(Coincidence(size, (one, "b")) for size, one in (("f", "h"), ("f", "a"), ("h", "a"))),
    }
    (four,) = (c for c in found if c == Coincidence("f", ("h",)))
    assert four.holds_at({"f": 128, "h": 32}, base)
    assert not four.holds_at({"f": 128, "h": 16}, base)


def drawn(base, moved, model=frozenset(), **options):
    """Without those in which everything has grown."""
    return list(itertools.islice(held_out(base, moved, model, **options), 4))


def test_held_out_points_are_longer_or_shorter_where_the_model_asks_for_that() -> None:
    base, moved = {"s": 512, "b": 8}, {"s": 805, "b": 49}
    assert all(0 < point["s"] < 512 for point in drawn(base, moved, full=["s"]))
    assert all(512 < point["s"] <= 512 * 3 for point in drawn(base, moved, loops=["s"]))
    assert all(point["s"] < 2 * 512 for point in drawn(base, moved, near=True))
    assert any(point["s"] > 512 + 256 for point in drawn(base, moved))


def test_held_out_points_stay_multiples_of_eight_where_nothing_else_was_accepted() -> None:
    assert all(point["s"] % 8 == 0 for point in drawn({"s": 512}, {"s": 808}))
    assert any(point["s"] % 8 for point in drawn({"s": 512}, {"s": 805}))
    assert drawn({"h": 24}, {"h": 48}, frozenset({"h"}))[0]["h"] % 8 == 0


class Tied(nn.Module):
    """Refuses sizes that do not fit together, as many constructors do."""

    def __init__(self, width, heads, size) -> None:
        super().__init__()
        if width != heads * size:
            raise ValueError("width must be heads times size")
        self.f = nn.Linear(width, width)

    def forward(self, x):
        return self.f(x).tanh()


def tied(h=64, a=4, h_a=16):
    return Tied(h, a, h_a)


def inputs(b=2, s=8, a=4, h_a=16):
    return (torch.randn(b, s, a * h_a),)


def test_sizes_that_only_move_together() -> None:
    report = graphmem.analyze(tied, inputs)
    assert report.verified.exact
    assert set(report.symbols) == {"b", "s", "a", "h_a"}
    assert any("h = a·h_a" in note for note in report.notes)
    assert report.at(a=8, b=3).saved.bytes == graphmem.analyze(tied(h=128, a=8), inputs(a=8, b=3)).saved.bytes
    assert report.at(a=8, h=128).saved.bytes == report.at(a=8).saved.bytes
    with pytest.raises(SymbolError, match="h = a"):
        report.at(h=128)


def test_three_points_prove() -> None:
    report = graphmem.analyze(tied, inputs)
    assert len(report.verified.points) == 3
    assert report.verified.share == 1
    for point in report.verified.points:
        assert all(point[n] != v for n, v in report.symbols.items())
