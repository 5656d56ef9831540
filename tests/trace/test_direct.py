"""Operators that are answered past fake mode: as fake mode answers, for every layout; and which are not."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from graphmem.machine.guard import ensure_cuda_guard
from graphmem.trace.direct import _FOR_ANY_GPU, _VIEWS, directly

aten = torch.ops.aten
DTYPES = (torch.float32, torch.bfloat16, torch.float64)


ensure_cuda_guard()  # for fake mode, where there is no GPU


def fake(mode, meta):
    return FakeTensor(mode, meta, torch.device("cuda"))


def layouts(mode, dtype):
    """(8, 8) tensors on a GPU: dense, transposed, a part of a larger one, expanded in one dimension or in the other."""
    dense, whole = (torch.empty(size, size, dtype=dtype, device="meta") for size in (8, 16))
    parts = (whole[:8, :8], whole[::2, ::2].t(), whole[0, :8].expand(8, 8), whole[:8, :1].expand(8, 8))
    return [fake(mode, one) for one in (dense, dense.t(), *parts)]


def arguments(func, x, y):
    """What `func` takes, with `x` and `y` for its tensors of real numbers."""
    mode = x.fake_mode
    index = FakeTensor(mode, torch.empty(8, 8, dtype=torch.int64, device="meta"), torch.device("cuda"))
    chosen = FakeTensor(mode, torch.empty(8, 8, dtype=torch.bool, device="meta"), torch.device("cuda"))
    row, first = (
        FakeTensor(mode, torch.empty(8, dtype=x.dtype, device="meta"), torch.device("cuda")),
        index.select(0, 0),
    )
    batch_x, batch_y = (t.unsqueeze(0).expand(3, 8, 8) for t in (x, y))
    special = {
        aten.view.default: [(x.contiguous(), [4, 2, 8])],
        aten._unsafe_view.default: [(x.contiguous(), [64])],
        aten.expand.default: [(x.unsqueeze(0), [5, 8, 8])],
        aten.permute.default: [(batch_x, [2, 0, 1])],
        aten.unsqueeze.default: [(x, 1)],
        aten.transpose.int: [(batch_x, 0, 2)],
        aten.split.Tensor: [(x, 3, 1)],
        aten.slice.Tensor: [(x, 1, 2, 7, 2)],
        aten.select.int: [(x, 1, 3)],
        aten.bmm.default: [(batch_x, batch_y)],
        aten.addmm.default: [(row, x, y), (x, x, y)],
        aten.baddbmm.default: [(batch_x, batch_x, batch_y), (row, batch_x, batch_y)],
        aten._softmax.default: [(x, 1, False), (x, 0, False)],
        aten._log_softmax.default: [(x, 1, False), (x, 0, False)],
        aten.native_layer_norm.default: [(x, [8], row, row, 1e-5), (batch_x, [8, 8], None, None, 1e-5)],
        aten._fused_rms_norm.default: [(x, [8], row, 1e-5), (batch_x, [8, 8], None, None)],
        aten.native_group_norm.default: [(batch_x.unsqueeze(-1), row, row, 3, 8, 8, 2, 1e-5)],
        aten.nll_loss_forward.default: [(x, first, None, 1, -100), (x, first, row, 0, 3)],
        aten.native_dropout.default: [(x, 0.1, True), (x, 0.0, True), (x, 0.5, False)],
        aten.embedding.default: [(x, index), (x, first, 2)],
        aten.cumsum.default: [(x, 1), (index, 0)],
        aten.cat.default: [([x, y], 1), ([x, index],)],
        aten.stack.default: [([x, y], 2)],
        aten.gather.default: [(x, 1, index)],
        aten.amax.default: [(x, [1]), (x, [0], True)],
        aten.sum.dim_IntList: [(x, [1]), (chosen, [0], True)],
        aten.mean.dim: [(x, [1], True), (batch_x, [0, 2])],
        aten.pow.Tensor_Scalar: [(x, 2), (x, 0.5), (index, 2), (index, 0.5)],
        aten.where.self: [(chosen, x, y), (chosen, x, index)],
        aten.masked_fill.Scalar: [(x, chosen, -1e9)],
        aten.bitwise_not.default: [(chosen,), (index,)],
        aten.bitwise_and.Tensor: [(chosen, chosen.t()), (chosen, index)],
        aten.bitwise_or.Tensor: [(chosen, chosen.t()), (chosen, index)],
    }
    if func in special:
        return special[func]
    if func in (aten.minimum.default, aten.maximum.default, aten.mm.default):
        return [(x, y)]
    if func._overloadname == "Tensor":
        return [(x, y), (x, row), (x, index), (row.unsqueeze(1), y)]
    return [(x, 2), (x, 0.5), (index, 0.5)] if func._overloadname == "Scalar" else [(x,)]


def laid_out(result):
    parts = result if isinstance(result, (tuple, list)) else [result]
    return [(tuple(t.shape), t.stride(), t.storage_offset(), t.dtype, t.fake_device) for t in parts]


@pytest.mark.parametrize("func", sorted(_VIEWS | _FOR_ANY_GPU, key=str), ids=str)
def test_as_fake_mode_lays_it_out(func) -> None:
    tried = 0
    for turn, dtype in enumerate(DTYPES):
        mode = FakeTensorMode()
        mode.cache_enabled = False
        tensors = layouts(mode, dtype)
        with mode:
            for x, y in zip(tensors, tensors[turn:] + tensors[:turn], strict=True):
                for args in arguments(func, x, y):
                    expected = func(*args)
                    tensors = [
                        t for a in args for t in (a if isinstance(a, list) else [a]) if isinstance(t, FakeTensor)
                    ]
                    found = directly(mode, func, args, {}, tensors)
                    assert laid_out(found) == laid_out(expected), (dtype, x.stride(), y.stride())
                    assert type(found) is type(expected)
                    tried += 1
    assert tried >= 18


def test_a_view_keeps_its_storage() -> None:
    mode = FakeTensorMode()
    x = FakeTensor(mode, torch.empty(8, 6, device="meta"), torch.device("cpu"))
    with mode:
        parts = directly(mode, aten.split.Tensor, (x, 3, 1), {}, [x])
    assert all(part.untyped_storage()._cdata == x.untyped_storage()._cdata for part in parts)


@pytest.mark.parametrize(
    ("func", "device"),
    [(aten.gelu.default, "cpu"), (aten.native_layer_norm.default, "cpu"), (aten.relu6.default, "cuda")],
)
def test_fake_mode_is_asked(func, device) -> None:
    mode = FakeTensorMode()
    x = FakeTensor(mode, torch.empty(8, device="meta"), torch.device(device))
    assert directly(mode, func, (x,), {}, [x]) is NotImplemented


def test_two_devices_are_left_to_fake_mode() -> None:
    mode = FakeTensorMode()
    x, scale = (
        FakeTensor(mode, torch.empty(s, device="meta"), torch.device(d)) for s, d in (((8,), "cuda"), ((), "cpu"))
    )
    assert directly(mode, aten.mul.Tensor, (x, scale), {}, [x, scale]) is NotImplemented
