"""`Results`: what an operator returns on fake tensors, as the machine would lay it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from graphmem._torch import DataDependentOutputException, DynamicOutputShapeException, disable_current_modes
from graphmem.kernels.registry import kernels_on
from graphmem.record import Ref, Trace, UnknownValueError
from graphmem.trace.frames import Frames
from graphmem.trace.lookups import check_lookup
from graphmem.trace.values import Values

_SELECTIONS = (torch.ops.aten.index.Tensor, torch.ops.aten.masked_select.default)
# How fake mode says that a result depends on values, which it does not have.
_ASKS = (DataDependentOutputException, DynamicOutputShapeException)


class Results:
    """Asks our own fake kernels, then fake mode, then the values behind it, then what the user gave for the line.

    Args:
        ask: fake mode's answer to (func, args, kwargs).
    """

    def __init__(self, record: Trace, values: Values, frames: Frames, ask: Callable[[Any, Any, Any], Any]) -> None:
        self._record, self._values, self._frames, self._ask = record, values, frames, ask
        self._kernels = kernels_on(record.device)

    def of(self, func: Any, args: Any, kwargs: Any, described: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        """The result of `func`. `described`: its arguments, as recorded."""
        try:
            made_here = self._kernels.results.get(func)
            result = made_here(args, kwargs) if made_here else self._ask(func, args, kwargs)
        except _ASKS as question:
            result = self._worked_out(question, func, *described)
        check_lookup(self._record, self._values, func, described[0])
        correct = self._kernels.corrections.get(func)
        return correct(args, result) if correct else result

    def _worked_out(self, question: Exception, func: Any, args: Any, kwargs: Any) -> Any:
        """What fake mode cannot say, from the values behind it."""
        asked = args
        if func in _SELECTIONS:  # how many are selected depends on the mask or index alone
            fact = self._record.fact(args[0])
            assert fact is not None
            with disable_current_modes():
                asked = (torch.zeros((), dtype=fact.dtype).expand(fact.shape), *args[1:])
        try:
            real = self._values.run(func, asked, kwargs)
        except UnknownValueError as unknown:
            given = self._values.given(self._frames.innermost())
            if given is not None:
                return self._as_given(func, args, given)
            question.graphmem_reason = str(unknown)  # type: ignore[attr-defined]
            raise question from None
        if isinstance(real, torch.Tensor):
            return self._blank(real)
        return type(real)(map(self._blank, real)) if isinstance(real, (tuple, list)) else real

    def _as_given(self, func: Any, args: Any, given: float) -> Any:
        """The number itself; or, of an operator that returns one row for each element selected, that many rows."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return given
        if func is torch.ops.aten.index.Tensor:
            return self._indexed(args, int(given))
        fact = self._record.fact(args[0])
        assert fact is not None
        shape = (int(given), len(fact.shape)) if func is torch.ops.aten.nonzero.default else (int(given),)
        dtype = torch.int64 if func is torch.ops.aten.nonzero.default else fact.dtype
        return torch.empty(shape, dtype=dtype, device=self._record.device)

    def _indexed(self, args: Any, rows: int) -> torch.Tensor:
        """table[..., mask, ...] where the mask selects `rows` elements: it then stands for one index of that length in
        place of each of its dimensions."""
        with disable_current_modes():
            indices: list[torch.Tensor | None] = []
            for ref in args[1]:
                index = None if ref is None else self._empty(ref)
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    indices += [torch.empty(rows, dtype=torch.int64, device="meta")] * index.dim()
                else:
                    indices.append(index)
            selected = torch.ops.aten.index.Tensor(self._empty(args[0]), indices)
        return self._blank(selected)

    def _empty(self, ref: Ref) -> torch.Tensor:
        fact = self._record.fact(ref)
        assert fact is not None
        return torch.empty_strided(fact.shape, fact.stride, dtype=fact.dtype, device="meta")

    def _blank(self, real: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(real.size(), real.stride(), dtype=real.dtype, device=self._record.device)
