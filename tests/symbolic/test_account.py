"""An account is handed to the derivation, which does not know what it counts: formulas for two toy accounts."""

import pytest
import sympy

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
    ("account", "expected"), [(products, "L(4sbf + 4sbh)"), (outputs, "4sbh"), (lambda trace: (), "0")]
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
    assert not any("autograd" in note for note in notes)


def test_the_derivation_knows_the_type_of_an_account_and_no_account() -> None:
    for module, file in sources().items():
        if module.startswith("graphmem.symbolic"):
            names = {name for name, _ in imported(file.read_text(), module) if ".accounts" in name}
            assert all(name.startswith("graphmem.accounts.account.") for name in names), (module, names)
