"""What is taken for granted where forward asks for a value that weights or activations decide."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphmem
from graphmem.errors import DataDependentError, UsageError
from graphmem.how.assumptions import read_assumptions
from support.oracle import real_saved
from support.slow import first_of


class Experts(nn.Module):
    """A loop over experts, each on the tokens that chose it: `keeps_input` experts save what they get."""

    def __init__(self, n=4, k=2) -> None:
        super().__init__()
        self.router, self.k = nn.Linear(16, n), k
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(n))

    def forward(self, x):
        tokens = x.flatten(0, 1)
        weights, chosen = self.router(tokens).softmax(-1).topk(self.k)
        out = torch.zeros_like(tokens)
        for i, expert in enumerate(self.experts):
            rows, slot = torch.where(chosen == i)
            out = out.index_add(0, rows, F.gelu(expert(tokens[rows])) * weights[rows, slot, None])
        return out


class Checks(nn.Module):
    """Asks whether something is NaN, infinite, finite."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(16, 16)

    def forward(self, x):
        y = self.f(x)
        if y.isnan().any() or torch.isinf(y).any() or not torch.isfinite(y).all():
            return y.float()
        return y.sigmoid()


class Thresholds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(16, 16)

    def forward(self, x):
        y = self.f(x)
        if y.max() > 3:
            return y.sigmoid()
        return y


X = (torch.randn(2, 10, 16),)
FILE = "test_assumed.py"
LINE = next(i for i, text in enumerate(open(__file__), 1) if "y.max() > 3" in text)  # noqa: SIM115


def rows_of(report):
    """How many tokens each expert got: the first dimension of what it saves."""
    return sorted(n.shape[0] for n in report.nodes if n.made_in == "" and n.shape[1:] == (16,) and n.shape[0] < 20)


def test_experts_are_chosen_equally_often() -> None:
    report = graphmem.analyze(Experts(), X)
    assert any("every expert is chosen equally often" in note for note in report.notes)
    # 20 tokens choose 2 of 4 experts: 10 each.
    assert rows_of(report)
    assert set(rows_of(report)) == {10}


@pytest.mark.slow
def test_the_worst_case_on_request() -> None:
    report = graphmem.analyze(Experts(), X, assume={"experts": "worst"})
    assert any("all tokens choose the same experts" in note for note in report.notes)
    assert not [n for n in report.nodes if n.shape[:1] == (10,)]


@pytest.mark.slow
def test_nothing_is_nan_or_infinite() -> None:
    report = graphmem.analyze(Checks(), X)
    assert [n.op for n in report.nodes] == ["aten.sigmoid.default"]
    assert any("nothing is NaN or infinite" in note for note in report.notes)


def test_anything_else_has_to_be_given() -> None:
    with pytest.raises(DataDependentError) as error:
        graphmem.analyze(Thresholds(), X)
    assert f"--assume {FILE}:{LINE}=VALUE" in str(error.value)
    saved = [graphmem.analyze(Thresholds(), X, assume={f"{FILE}:{LINE}": v}).saved.bytes for v in (True, "false")]
    assert saved == [2 * 10 * 16 * 4, 0]


SELECTIONS = {
    "masked_select": lambda x: x.masked_select(x == x * 1),
    "elements": lambda x: x[x == x * 1],
    "rows": lambda x: x[(x == x * 1).all(-1)],
    "columns": lambda x: x[:, (x == x * 1).all(-1).all(0)],
}


class Selects(nn.Module):
    def __init__(self, select) -> None:
        super().__init__()
        self.f, self.select = nn.Linear(16, 16), select

    def forward(self, x):
        return self.select(self.f(x)).tanh()


@pytest.mark.parametrize("name", first_of(SELECTIONS))
def test_how_many_are_selected_can_be_given(name) -> None:
    """`select` takes all that there are, which nobody but the user knows."""
    select = SELECTIONS[name]
    module, size = Selects(select), {"rows": 20, "columns": 10}.get(name, X[0].numel())
    line = f"{FILE}:{select.__code__.co_firstlineno}"
    report = graphmem.analyze(module, X, assume={line: size}, device="cpu")
    assert any(f"was answered {size}" in note for note in report.notes)
    assert report.saved.bytes == sum(size * count for size, count in real_saved(module, X).items())


@pytest.mark.parametrize("wrong", [{"experts": "many"}, {"model.py": 3}, {"model.py:88": "x"}, {"model.py:x": 3}])
def test_what_cannot_be_read(wrong) -> None:
    with pytest.raises(UsageError, match="cannot assume"):
        read_assumptions(wrong)
