"""A record: it keeps no large tensor alive, and stays right however forward is run."""

import gc
import importlib.util
import types
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

import graphmem
import graphmem.errors
import graphmem.trace.forward
from graphmem.analysis.tracer import Tracer
from graphmem.errors import GraphmemError, TooLongError
from graphmem.how import read_how
from graphmem.load import from_factories
from graphmem.record import Ref, UnknownValueError
from graphmem.symbolic.strategy import _is_long
from graphmem.trace import trace
from graphmem.trace.values import SMALL

ROWS = 8192  # a mask of as many rows and columns is 64 MiB of booleans


class Masked(nn.Module):
    def __init__(self, rows) -> None:
        super().__init__()
        self.f = nn.Linear(8, 8)
        at = torch.arange(rows)
        self.register_buffer("mask", at[:, None] >= at)

    def forward(self, x):
        s = x.shape[1]
        scores = (x @ x.mT).masked_fill(self.mask[:s, :s], 0.0)
        return self.f(scores.softmax(-1) @ x).relu() if self.mask[:s, 0].all() else x


def value_of_mask(record):
    return record.value(Ref(next(op.index for op in record.ops if op.name == "mask"), 0))


def tensors_behind(start):
    """Every tensor that an object keeps alive; not what a function finds in its module, nor what a class has."""
    found, seen, todo = [], set(), [start]
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, (type, types.ModuleType)):
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, types.FunctionType):
            todo += [value.__closure__, value.__defaults__, value.__kwdefaults__]
        else:
            todo += gc.get_referents(value)
    return found


@pytest.mark.slow
def test_a_report_keeps_no_large_buffer_alive() -> None:
    """Which a model file made, and which the values of its mask could be asked of."""
    made = []

    def model(L=1):
        module = Masked(ROWS)
        made.append(StorageWeakRef(module.mask.untyped_storage()))
        return module

    report = graphmem.analyze(model, lambda b=2, s=16: (torch.zeros(b, s, 8),))
    gc.collect()
    assert made
    assert all(storage.expired() for storage in made)
    assert sum(t.untyped_storage().nbytes() for t in tensors_behind(report)) < 2**20


@pytest.mark.slow
def test_a_record_keeps_no_large_buffer_alive() -> None:
    """The report has the module, to trace it again; the record has not."""
    module = Masked(ROWS)
    storage = StorageWeakRef(module.mask.untyped_storage())
    record = graphmem.analyze(module, (torch.zeros(2, 16, 8),)).analysis.derived.trace
    del module
    gc.collect()
    assert storage.expired()
    assert sum(t.untyped_storage().nbytes() for t in tensors_behind(record)) < 2**20


def test_the_walk_can_fail() -> None:
    large = torch.zeros(2**20)
    assert tensors_behind([lambda: large])


def test_what_is_small_is_known_after_forward() -> None:
    module = Masked(64)
    record = trace(module, (torch.zeros(2, 16, 8),), read_how({}))
    del module
    assert torch.equal(value_of_mask(record), torch.ones(64, 64).tril().bool())


@pytest.mark.slow
def test_what_is_large_is_known_as_long_as_its_module_lives() -> None:
    module = Masked(ROWS)
    large = module.mask.nbytes > SMALL  # pytest would print what is compared, element by element
    assert large
    record = trace(module, (torch.zeros(2, 16, 8),), read_how({}))
    same = torch.equal(value_of_mask(record), module.mask)
    assert same
    del module
    gc.collect()
    with pytest.raises(UnknownValueError):
        value_of_mask(record)


def test_a_value_that_was_worked_out_is_not_kept() -> None:
    module = Masked(64)
    record = trace(module, (torch.zeros(2, 16, 8),), read_how({}))
    value = weakref.ref(value_of_mask(record))
    assert value() is None


def test_forward_as_it_is_driven() -> None:
    """A replay calls no modules, and says itself which one is running."""
    module, x = Masked(64), torch.zeros(2, 16, 8)
    called = trace(module, (x,), read_how({}))

    def drive(given, args, kwargs, calls):
        assert given is module
        assert not kwargs
        calls.take_over(called)
        calls.now = 1
        return args[0].relu()

    driven = trace(module, (x,), read_how({}), drive=drive)
    ops = [op for op in driven.ops if op.kind == "call"]
    assert [(op.name, op.call) for op in ops] == [("aten.relu.default", 1)]
    assert driven.calls == called.calls
    assert [call.path for call in driven.calls] == ["", "f"]


def stacks(record):
    return {tuple(place.function for place in op.stack) for op in record.ops if op.kind == "call"}


def test_the_caller_of_graphmem_is_not_in_the_stack(tmp_path) -> None:
    """By whatever name the file goes that calls forward."""
    copy = tmp_path / "renamed.py"
    copy.write_text(Path(graphmem.trace.forward.__file__).read_text())
    spec = importlib.util.spec_from_file_location("renamed", copy)
    renamed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(renamed)
    for run in (trace, renamed.trace):
        assert stacks(run(Masked(64), (torch.zeros(2, 16, 8),), read_how({}))) == {("forward",)}


def test_a_limit_is_not_an_error_of_the_users() -> None:
    """The model is not blamed, and who set the limit can tell it from a model that does not run."""
    subject = from_factories(lambda L=1: Masked(64), lambda b=2, s=16: (torch.zeros(b, s, 8),), name="masked")
    tracer = Tracer(subject, read_how({}))
    with pytest.raises(TooLongError):
        tracer.limited(3)(subject.symbols)
    assert not issubclass(TooLongError, GraphmemError)
    assert _is_long(tracer.limited(3), subject.symbols)
    assert not _is_long(tracer.limited(1000), subject.symbols)


def test_every_error_is_in_the_tree() -> None:
    for name, value in vars(graphmem.errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert name in graphmem.errors.__doc__


def test_only_forward_is_recorded() -> None:
    """What graphmem itself does around forward, such as comparing generators, is not in the record."""
    module = nn.Sequential(nn.Linear(8, 8), nn.Dropout())
    record = trace(module, (torch.zeros(2, 8),), read_how({"gpu": "h100"}))
    names = [op.name for op in record.ops if op.kind == "call"]
    assert names == ["aten.t.default", "aten.addmm.default", "aten.native_dropout.default"]
    assert not any(op.kind == "constant" for op in record.ops)
