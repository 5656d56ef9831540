"""Operators whose meta kernel can be called directly, past the Python of fake mode: three to ten times as fast.

Fake mode works out the device of a result, and runs what depends on a device as its own Python, call by call. Neither
matters for these: their results lie where all of their arguments lie, and how they are laid out depends on the layouts
alone. Convolutions, for instance, are not among them: their memory format depends on the device.
"""

from __future__ import annotations

from typing import Any

import torch

from graphmem._torch import FakeTensor, FakeTensorMode, in_kernel_invocation_manager


def operators(names: str) -> set[Any]:
    """The operators of these names, `name` or `name.overload`."""
    pairs = (name.partition(".") for name in names.split())
    return {getattr(getattr(torch.ops.aten, name), overload or "default") for name, _, overload in pairs}


# One kernel in C++ for all devices.
_VIEWS = operators("""
    view _unsafe_view expand permute t transpose.int unsqueeze split.Tensor slice.Tensor select.int clone
""")
# Fake mode runs the same Python, or the same kernel in C++, for a GPU (torch/_decomp/decompositions.py, torch/_refs and
# torch/_meta_registrations.py, 2.13: none of these asks for a device, but for native_layer_norm, which asks for the
# CPU). tests/trace/test_direct.py compares the two.
_FOR_ANY_GPU = operators("""
    add.Tensor sub.Tensor mul.Tensor div.Tensor add.Scalar sub.Scalar mul.Scalar div.Scalar pow.Tensor_Scalar
    eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar
    ge.Scalar bitwise_and.Tensor bitwise_or.Tensor bitwise_not where.self masked_fill.Scalar minimum maximum
    exp log sqrt rsqrt neg abs cos sin gelu silu relu sigmoid tanh softplus elu tril triu
    mm bmm addmm baddbmm _softmax _log_softmax nll_loss_forward native_dropout embedding gather cat stack
    native_layer_norm _fused_rms_norm native_group_norm sum.dim_IntList mean.dim amax cumsum
""")


def directly(
    mode: FakeTensorMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[FakeTensor]
) -> Any:
    """What `func` returns on these fake `tensors`, which are all that `args` and `kwargs` hold; `NotImplemented` where
    fake mode has to be asked."""
    devices = {tensor.fake_device for tensor in tensors}
    if len(devices) != 1:
        return NotImplemented
    device = devices.pop()
    if func not in _VIEWS and (func not in _FOR_ANY_GPU or device.type != "cuda"):
        return NotImplemented
    with in_kernel_invocation_manager(mode):
        made = func(*args, **kwargs)
    if isinstance(made, torch.Tensor):
        return _fake(mode, made, device)
    return type(made)(_fake(mode, one, device) for one in made)


def _fake(mode: FakeTensorMode, made: torch.Tensor, device: torch.device) -> torch.Tensor:
    return made if isinstance(made, FakeTensor) else FakeTensor(mode, made, device)  # dropout may return its argument
