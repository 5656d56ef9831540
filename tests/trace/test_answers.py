"""What is remembered of fake mode's answers: the same tensors as real ones on the CPU, however often it is asked."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from graphmem.trace.answers import Answers

aten = torch.ops.aten


def real(*shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype)


CASES = {
    "broadcast": (aten.add.Tensor, (real(4, 1, 8), real(3, 8))),
    "promotion": (aten.mul.Tensor, (real(4, 8, dtype=torch.bfloat16), real(8))),
    "number": (aten.mul.Tensor, (real(4, 8, dtype=torch.int64), 0.5)),
    "not contiguous": (aten.gelu.default, (real(4, 8, 2).transpose(0, 1),)),
    "view": (aten.view.default, (real(4, 6), [2, 2, 6])),
    "unsafe view": (aten._unsafe_view.default, (real(4, 6), [24])),
    "expanded": (aten.expand.default, (real(4, 1, 6), [4, 5, 6])),
    "slice of a slice": (aten.slice.Tensor, (real(9, 6)[2:], 0, 3, 5)),
    "split": (aten.split.Tensor, (real(4, 9), 3, 1)),
    "list": (aten.cat.default, ([real(2, 3), real(4, 3)],)),
    "two results": (aten.native_layer_norm.default, (real(2, 3, 8), [8], real(8), real(8), 1e-5)),
    "as stored": (aten.clone.default, (real(2, 3, 8).permute(2, 0, 1),)),
    "attention": (aten.bmm.default, (real(2, 3, 8), real(2, 8, 3))),
}


def faked(mode, value):
    if isinstance(value, list):
        return [faked(mode, v) for v in value]
    return mode.from_tensor(value) if isinstance(value, torch.Tensor) else value


def layout(result):
    results = result if isinstance(result, (tuple, list)) else [result]
    return [(tuple(r.shape), r.stride(), r.storage_offset(), r.dtype) for r in results]


@pytest.mark.parametrize(("func", "args"), CASES.values(), ids=CASES)
def test_remembered_as_it_really_is(func, args) -> None:
    answers, mode = Answers(), FakeTensorMode()
    for _ in range(3):
        fakes = [faked(mode, a) for a in args]
        with mode:
            answer = answers.ask(mode, func, tuple(fakes), {})
        assert layout(answer) == layout(func(*args))
        assert type(answer) is type(func(*args)) or isinstance(answer, FakeTensor)
        if func in _VIEWS:
            storage = fakes[0].untyped_storage()._cdata
            assert all(t.untyped_storage()._cdata == storage for t in _all(answer))
    assert len(answers._known) == 1


def _all(answer):
    return answer if isinstance(answer, (tuple, list)) else [answer]


_VIEWS = {
    aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.slice.Tensor, aten.split.Tensor,
}  # fmt: skip


def test_fake_mode_is_asked_once(monkeypatch) -> None:
    asked = []
    original = FakeTensorMode.dispatch

    def counted(self, func, *rest, **kwargs):
        asked.append(func)
        return original(self, func, *rest, **kwargs)

    answers, mode = Answers(), FakeTensorMode()
    x, y = (mode.from_tensor(real(4, 8)) for _ in range(2))
    monkeypatch.setattr(FakeTensorMode, "dispatch", counted)
    with mode:
        for tensor in (x, y, x):
            answers.ask(mode, aten.silu.default, (tensor,), {})
    assert asked.count(aten.silu.default) == 1


def test_what_else_decides_is_asked_each_time() -> None:
    answers, mode = Answers(), FakeTensorMode(allow_non_fake_inputs=True)
    x = mode.from_tensor(real(4, 8))
    with mode:
        number = torch.tensor(3.0)  # its value is known, and stays known in what is computed from it
        assert answers.ask(mode, aten.mul.Tensor, (number, 2.0), {}).constant == 6
        answers.ask(mode, aten.add_.Tensor, (x, 1.0), {})
        answers.ask(mode, aten.view_as_real.default, (torch.zeros(4, dtype=torch.complex64),), {})
    assert not answers._known


def test_numbers_of_other_types_are_other_arguments() -> None:
    answers, mode = Answers(), FakeTensorMode()
    whole = mode.from_tensor(real(4, dtype=torch.int64))
    with mode:
        assert answers.ask(mode, aten.mul.Tensor, (whole, 2), {}).dtype == torch.int64
        assert answers.ask(mode, aten.mul.Tensor, (whole, 2.0), {}).dtype == torch.float32
        assert answers.ask(mode, aten.mul.Tensor, (whole, True), {}).dtype == torch.int64
        torch.set_default_dtype(torch.float64)
        try:
            assert answers.ask(mode, aten.mul.Tensor, (whole, 2.0), {}).dtype == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)


GROWN = {
    "the same shape": (aten.mul.Tensor, lambda n: (real(n, 8), real(n, 8)), 1),
    "a row": (aten.add.Tensor, lambda n: (real(n, 8, dtype=torch.bfloat16), real(8)), 1),
    "a column": (aten.mul.Tensor, lambda n: (real(2, n, 8), real(2, n, 1)), 1),
    "a number": (aten.add.Tensor, lambda n: (real(n, 8, dtype=torch.int64), 0.5), 1),
    "two results": (aten.native_dropout.default, lambda n: (real(n, 8), 0.5, True), 1),
    "its argument": (aten.native_dropout.default, lambda n: (real(n, 8), 0.0, True), 2),
    "a size of 1": (aten.mul.Tensor, lambda n: (real(n - 4, 8), real(1, 8)), 2),
    "columns": (aten.gelu.default, lambda n: (real(8, n).t(),), 2),
    "neither is as large": (aten.mul.Tensor, lambda n: (real(n, 1), real(8)), 2),
    "gaps": (aten.relu.default, lambda n: (real(n, 8)[:, :4],), 2),
}


@pytest.mark.parametrize(("func", "of", "asked"), GROWN.values(), ids=GROWN)
def test_one_size_tells_of_all(func, of, asked, monkeypatch) -> None:
    """Where what is kept lies in rows; otherwise fake mode is asked for each size."""
    times = []
    original = FakeTensorMode.dispatch

    def counted(self, func, *rest, **kwargs):
        times.append(func)
        return original(self, func, *rest, **kwargs)

    answers, mode = Answers(), FakeTensorMode()
    questions = [tuple(faked(mode, a) for a in of(n)) for n in (5, 7)]
    monkeypatch.setattr(FakeTensorMode, "dispatch", counted)
    with mode:
        found = [layout(answers.ask(mode, func, args, {})) for args in questions]
    assert found == [layout(func(*of(n))) for n in (5, 7)]
    assert times.count(func) == asked
