"""Values that forward asks for: answered where they can be known, refused where they cannot."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import DataDependentError, ModelError
from support.slow import first_of


class Asks(nn.Module):
    def __init__(self, question) -> None:
        super().__init__()
        self.f, self.question = nn.Linear(8, 8), question
        self.register_buffer("table", torch.arange(4))

    def forward(self, x, ids):
        return self.f(x).relu() if self.question(self, x, ids) else self.f(x).sigmoid().tanh()


KNOWN = {
    "positions": lambda m, x, ids: bool((torch.arange(x.shape[1], device=x.device) >= 0).all()),
    "ids": lambda m, x, ids: (ids == 3).any().item(),
    "ids by index": lambda m, x, ids: 3 in ids[:, [-1, 0]],
    "a buffer": lambda m, x, ids: int(m.table.max()) == 3,
    "nonzero": lambda m, x, ids: (ids == 3).nonzero().shape[0] == 10,
    "masked select": lambda m, x, ids: ids[ids > 2].numel() == 10,
    "a constant": lambda m, x, ids: torch.tensor(2.0).item() == 2.0,
    "unique": lambda m, x, ids: torch.unique(ids).numel() == 1,
}
UNKNOWN = {
    "activations": lambda m, x, ids: m.f(x).mean() > 0,
    "parameters": lambda m, x, ids: m.f.weight.norm().item() > 1,
}


def inputs():
    return torch.randn(2, 5, 8), torch.full((2, 5), 3)


@pytest.mark.parametrize("name", first_of(KNOWN, 3))
def test_known(name) -> None:
    report = graphmem.analyze(Asks(KNOWN[name]), inputs(), symbols={"h": 8})
    # relu keeps its result alone; the other branch would keep two tensors.
    assert [n.op for n in report.nodes] == ["aten.relu.default"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_is_an_error_that_says_where(name) -> None:
    with pytest.raises(DataDependentError) as error:
        graphmem.analyze(Asks(UNKNOWN[name]), inputs())
    assert "test_values.py" in str(error.value)
    assert "parameter f." in str(error.value)


def test_ids_without_values_are_assumed_and_said() -> None:
    ids = torch.empty(2, 5, dtype=torch.long, device="meta")
    report = graphmem.analyze(Asks(lambda m, x, ids: (ids == 3).any()), (torch.randn(2, 5, 8), ids))
    assert any("given without any" in note for note in report.notes)


def test_a_random_decision_is_said_and_leaves_the_generator_alone() -> None:
    module, arguments = Asks(lambda m, x, ids: torch.rand([]) < 0.5), inputs()
    state = torch.get_rng_state()
    report = graphmem.analyze(module, arguments)
    assert torch.equal(torch.get_rng_state(), state)
    assert any("random number" in note for note in report.notes)


def test_what_was_written_in_place_counts_in_its_order() -> None:
    """Views share their storage: a value is that of the moment when it is read."""

    def question(_module, _x, ids):
        flags = torch.zeros(4, dtype=torch.int64, device=ids.device)
        before = flags + 10
        flags[1:3].fill_(3)
        flags[2:].add_(ids[0, :2])
        after = flags.tolist()
        flags.zero_()
        return before.tolist() == [10, 10, 10, 10] and after == [0, 3, 6, 3] and not flags.any()

    arguments = inputs()
    report = graphmem.analyze(Asks(question), arguments, symbols={"h": 8})
    assert [n.op for n in report.nodes] == ["aten.relu.default"]
    assert arguments[1].tolist() == [[3] * 5] * 2


class Positions(nn.Module):
    """Looks up rows that sizes decide, and rows that ids decide."""

    def __init__(self, rows) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(20, 8), nn.Embedding(rows, 8)

    def forward(self, ids):
        return (self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device) + 2)).tanh()


LOOKUPS = {
    "index": lambda table, at: table[at],
    "from the end": lambda table, at: table[-at - 1],
    "two indices": lambda table, at: table[at, at % 8],
    "index_select": lambda table, at: table.index_select(0, at),
}


class LooksUp(nn.Module):
    def __init__(self, how) -> None:
        super().__init__()
        self.table, self.how = nn.Parameter(torch.zeros(32, 8)), how

    def forward(self, x):
        return self.how(self.table, torch.arange(x.shape[0], device=x.device)).tanh()


@pytest.mark.parametrize("how", first_of(LOOKUPS))
def test_rows_that_a_table_does_not_have(how) -> None:
    module = LooksUp(LOOKUPS[how])
    assert graphmem.analyze(module, {"x": torch.zeros(32)}).saved.bytes
    module(torch.zeros(32))
    with pytest.raises(ModelError, match=r"IndexError: rows .* of 32"):
        graphmem.analyze(module, {"x": torch.zeros(33)})
    with pytest.raises(IndexError):
        module(torch.zeros(33))


def test_rows_that_an_embedding_does_not_have() -> None:
    ids = torch.zeros(2, 30, dtype=torch.int64)
    assert graphmem.analyze(Positions(32), {"ids": ids}).saved.bytes
    with pytest.raises(ModelError, match=r"IndexError: rows 2 to 31 of 31(?s:.*)shorter inputs"):
        graphmem.analyze(Positions(31), {"ids": ids})
    with pytest.raises(IndexError):
        Positions(31)(ids)


def test_floats_are_no_index() -> None:
    """The fake mode of torch 2.11 does not mind."""
    with pytest.raises(ModelError, match=r"RuntimeError: Expected .*[Ii]ndices"):
        graphmem.analyze(nn.Embedding(4, 8), {"input": torch.zeros(2, 3)})
    with pytest.raises(RuntimeError):
        nn.Embedding(4, 8)(torch.zeros(2, 3))


class CountsWhatIsNoPadding(nn.Module):
    """RoBERTa's positions: padding has none."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(20, 8), nn.Embedding(32, 8)

    def forward(self, ids):
        mask = (ids != 1).long()
        return (self.tokens(ids) + self.positions(mask.cumsum(1) * mask + 1)).tanh()


@pytest.mark.parametrize(("padding", "raises"), first_of([(0, True), (3, False)]))
def test_positions_that_hang_on_padding(padding, raises) -> None:
    ids = torch.zeros(2, 33, dtype=torch.int64)
    ids[:, :padding] = 1
    for run in (lambda: graphmem.analyze(CountsWhatIsNoPadding(), {"ids": ids}), lambda: CountsWhatIsNoPadding()(ids)):
        with pytest.raises((ModelError, IndexError)) if raises else nullcontext():
            run()
    elsewhere = graphmem.analyze(CountsWhatIsNoPadding(), {"ids": ids.to("meta")})  # without values nothing is said
    assert not any("took" in note for note in elsewhere.notes)
