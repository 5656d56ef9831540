"""An account is handed to the derivation, which does not know what it counts: formulas for two toy accounts."""

from dataclasses import replace
from functools import partial

import pytest
import sympy
import torch
from torch import nn

import graphmem
from graphmem.accounts.account import Kept
from graphmem.accounts.saved import OUTPUT, sort_storages
from graphmem.analysis.tracer import Tracer
from graphmem.how import read_how
from graphmem.load import subject_of, wishes_of
from graphmem.symbolic.curves import evaluate
from graphmem.symbolic.derive import derive
from graphmem.symbolic.problem import Problem
from graphmem.symbolic.strategy import Search, derive_for
from graphmem.symbolic.text import formula
from support.floors import imported, sources
from support.oracle import real_saved
from support.slow import first_of
from support.stacks import inputs, stack


def products(trace):
    """Everything that a matrix product made, alive or not: a table of its own, and no autograd node."""
    made = [s for s in trace.storages if trace.ops[s.born.op].name == "aten.addmm.default"]
    return tuple(
        Kept(
            table="product",
            storage=storage.index,
            op=(op := trace.ops[storage.born.op]),
            module=trace.calls[op.call].path,
            made_in=trace.calls[op.call].path,
            ordinal=("", 0),
            shape=op.outputs[0].shape,
            dtype="float32",
            itemsize=4,
            nbytes=storage.nbytes,
            keepers=(),
            keeper_ops=(),
        )
        for storage in made
    )


def outputs(trace):
    """Only what the caller holds."""
    return tuple(kept for kept in sort_storages(trace) if kept.table == OUTPUT)


@pytest.fixture
def subject():
    return subject_of(stack, inputs, None, wishes_of(None, None, None, None, False))


@pytest.fixture
def tracer(subject):
    return Tracer(subject, read_how({"gpu": "h100", "device": "cpu"}))


def total(derived):
    return sympy.Add(*(group.size * group.count.expr for group in derived.groups))


@pytest.mark.parametrize(
    ("account", "expected"), first_of([(products, "L(4sbf + 4sbh)"), (outputs, "4sbh"), (lambda trace: (), "0")])
)
def test_a_formula_for_any_account(tracer, subject, account, expected) -> None:
    working = dict(subject.symbols)
    problem = Problem(tracer=tracer, account=account, working=working, model_symbols=subject.model_symbols)
    derived = derive(problem, {"L": 1})
    assert derived.exact
    assert formula(total(derived), working, ("L",)) == expected
    for there in ({"b": 5, "L": 7}, {"s": 64, "f": 8}):
        point = {**working, **there}
        assert evaluate(total(derived), point) == sum(kept.nbytes for kept in account(tracer(point)))


def test_a_search_works_for_any_account(tracer, subject) -> None:
    search = Search(
        tracer=tracer,
        account=products,
        total="product",
        model_symbols=subject.model_symbols,
        depth={"L": 1},
        unlike=[],
        deepest={},
    )
    derived, _, notes = derive_for(search, dict(subject.symbols))
    assert derived.exact
    assert {group.key.table for group in derived.groups} == {"product"}
    assert not any("autograd" in note.text for note in notes)


def test_the_derivation_knows_the_type_of_an_account_and_no_account() -> None:
    for module, file in sources().items():
        if module.startswith("graphmem.symbolic"):
            names = {name for name, _ in imported(file.read_text(), module) if ".accounts" in name}
            assert all(name.startswith("graphmem.accounts.account.") for name in names), (module, names)


def in_two_tables(first, second, trace):
    """Of two layers the products by turns in two tables."""
    return tuple(replace(kept, table=(first, second)[i % 2]) for i, kept in enumerate(products(trace)))


def test_a_table_does_not_stand_for_another(tracer, subject) -> None:
    """The same sizes, but each in the other table."""
    working = {**subject.symbols, "L": 2}
    account = partial(in_two_tables, "one", "other")
    derived = derive(
        Problem(tracer=tracer, account=account, working=working, model_symbols=subject.model_symbols), {"L": 1}
    )
    trace = tracer({**working, "s": 2 * working["s"], "f": 3 * working["f"]})
    assert derived.holds(trace)
    assert not replace(derived, account=partial(in_two_tables, "other", "one")).holds(trace)


def test_what_is_listed_beside_the_sum_has_no_part_in_its_proof() -> None:
    """A buffer whose size has no formula: what is saved has one all the same, and the buffer keeps its number."""

    class Model(nn.Module):
        def __init__(self, h) -> None:
            super().__init__()
            self.o = nn.Linear(h, h)
            self.register_buffer("table", torch.ones(h * 2654435761 % 97 + 5))

        def forward(self, x):
            y = self.o(x).sigmoid()
            return y * (y.flatten()[0] * self.table).sum()

    def model(h=16):
        return Model(h)

    def data(b=2, h=16):
        return (torch.randn(b, h),)

    report = graphmem.analyze(model, data, device="cpu")
    assert report.verified.exact
    assert "h" in report.symbols
    row = next(row for row in report.not_counted if row.what == "saved buffer")
    assert (row.bytes, row.expr) == (Model(16).table.nbytes, None)
    there = report.at(h=24)
    assert there.saved.bytes == sum(size * n for size, n in real_saved(Model(24), data(h=24)).items())
    elsewhere = next(row for row in there.not_counted if row.what == "saved buffer")
    assert elsewhere.bytes is None
    assert "no formula" in elsewhere.why
