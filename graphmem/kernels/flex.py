"""`torch.nn.attention.flex_attention` on fake tensors: what its autograd function saves, without running a score_mod.

torch's own path would trace the score_mod's backward with the autograd engine, which needs a GPU. What is saved depends
on the score_mod only through the tensors that it captures. After FlexAttentionAutogradOp in
torch/_higher_order_ops/flex_attention.py (2.11 to 2.13) and measurements on an H200.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

import torch

from graphmem._torch import COMPILED_FRAME, FLEX_ATTENTION, compile_stance
from graphmem.patches import Here, patched

P = ParamSpec("P")
T = TypeVar("T")

_MODULE = "torch.nn.attention.flex_attention"
_CALLER = (_MODULE, "flex_attention")


@functools.cache
def _kernel() -> Any:
    """The operator. To register one takes 20 ms, which only a model with flex_attention spends."""
    kernel = torch.library.custom_op("graphmem::flex_attention", _never, mutates_args=())
    kernel.register_fake(_results)
    return kernel


def _never(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    block_mask: Sequence[torch.Tensor],
    bias: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(b, heads, s, head size) -> out of the same shape, logsumexp and max_scores (b, heads, s). `bias`: what a
    score_mod or a mask_mod captures."""
    raise AssertionError("fake mode answers before a kernel is asked")


def _results(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    block_mask: Sequence[torch.Tensor],
    bias: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    statistics = torch.float64 if query.dtype == torch.float64 else torch.float32
    shape = (*query.shape[:-1], value.shape[-1])
    lse, top = (query.new_empty(query.shape[:-1], dtype=statistics) for _ in range(2))
    return query.new_empty_strided(shape, _strides_like(query, shape)), lse, top


def _strides_like(query: torch.Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """_permute_strides: dense, in the query's order of dimensions, the head size innermost."""
    order = sorted(range(len(shape) - 1), key=lambda i: query.stride(i))
    strides, step = [1] * len(shape), shape[-1]
    for i in order:
        strides[i] = step
        step *= shape[i]
    return tuple(strides)


class _FlexAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        compiled: bool,
        tables: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *others: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        out, lse, max_scores = _kernel()(query, key, value, others[:tables], others[tables:])
        ctx.mark_non_differentiable(max_scores)
        # Backward does not use max_scores, and torch.compile keeps only what backward uses.
        statistics = (lse,) if compiled else (lse, max_scores)
        ctx.save_for_backward(query, key, value, out, *statistics, *others)
        return out, lse, max_scores

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        raise AssertionError("there is no backward here")


@contextmanager
def flex_attention_as_kernel() -> Iterator[None]:
    """Inside the block flex_attention is one operator, and whatever torch.compile made runs as it was written."""
    with contextlib.ExitStack() as stack:
        stance = compile_stance()
        if stance is not None:
            stack.enter_context(_eager_here(*stance))
        if _MODULE in sys.modules:
            _kernel()  # to register it within forward would be a part of that
        if FLEX_ATTENTION in sys.modules:
            stack.enter_context(patched(type(sys.modules[FLEX_ATTENTION].flex_attention), "__call__", _call))
        yield


def again_with_flex_attention(function: Callable[P, T]) -> Callable[P, T]:
    """Calls `function` a second time where it was the first to import flex_attention, as a model's forward may: that
    imports torch.compile, which `flex_attention_as_kernel` has to find at its start."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        there = _MODULE in sys.modules
        try:
            result = function(*args, **kwargs)
        except Exception:
            if there or _MODULE not in sys.modules:
                raise
        else:
            if there or _MODULE not in sys.modules:
                return result
        return function(*args, **kwargs)

    return called


class _EagerHere:
    """The stance that torch.compile has, but "force_eager" in one thread."""

    def __init__(self, others: Any) -> None:
        self._others, self._here, self.over = others, Here(), False

    def __getattr__(self, name: str) -> Any:
        return "force_eager" if name == "stance" and self._here and not self.over else getattr(self._others, name)


@contextmanager
def _eager_here(owner: Any, name: str) -> Iterator[None]:
    """What torch.compiler.set_stance("force_eager") does, for this thread: that one speaks for all."""
    before = getattr(owner, name)
    here = _EagerHere(before)
    setattr(owner, name, here)
    try:
        yield
    finally:
        here.over = True  # whoever has taken hold of it gets the stance of before
        if getattr(owner, name) is here:
            setattr(owner, name, before)


def _call(
    _operator: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    score_mod: Callable[..., Any],
    block_mask: tuple[Any, ...],
    scale: float,
    kernel_options: dict[str, Any],
    score_mod_other_buffers: tuple[Any, ...] = (),
    mask_mod_other_buffers: tuple[Any, ...] = (),
) -> Any:
    captured = [*score_mod_other_buffers, *mask_mod_other_buffers]
    captured += _captured(score_mod, set()) + _captured(block_mask[-1], set())
    tables = [t for t in block_mask[:-1] if isinstance(t, torch.Tensor)]
    bias = [t for t in captured if isinstance(t, torch.Tensor)]
    return _FlexAttention.apply(_inside_compiled(), len(tables), query, key, value, *tables, *bias)


def _captured(function: Any, seen: set[int]) -> list[torch.Tensor]:
    """The tensors that a score_mod or mask_mod reaches through its closure, also by way of other functions."""
    if not isinstance(function, FunctionType) or id(function) in seen:
        return []
    seen.add(id(function))
    found: list[torch.Tensor] = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            for value in cell.cell_contents if isinstance(cell.cell_contents, (tuple, list)) else [cell.cell_contents]:
                found += [value] if isinstance(value, torch.Tensor) else _captured(value, seen)
    return found


def _inside_compiled() -> bool:
    """Whether flex_attention was called from what torch.compile made. Called as it is, it compiles a wrapper itself."""
    frame: Any = sys._getframe(1)
    while frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) != _CALLER:
        frame = frame.f_back
    while frame is not None:
        if frame.f_code.co_qualname.startswith(COMPILED_FRAME):
            return True
        frame = frame.f_back
    return False
