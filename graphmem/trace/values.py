"""Values of small tensors, worked out only when forward asks for one.

A fake tensor has no value, but positions, masks and ids usually can have one: they follow from constants and from the
inputs. The record says how every tensor came about, so the answer to `if mask.all()` is found by running just the
operators behind it, for real, on the CPU. Nothing is spent on models that never ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from graphmem.trace.record import Op, Ref, Trace

# No tensor larger than this is computed: 2**26 elements are 64 MiB of booleans, a (1, 1, 8192, 8192) mask.
LIMIT = 2**26
# Above the ids that padding, begin, end and separator usually have.
ORDINARY_ID = 5


class UnknownValueError(Exception):
    """The value hangs on something that has none; says on what."""


class Values:
    """Evaluates references of one trace.

    known: values of placeholders, by operator index.
    reload: gives the inputs as real tensors, by placeholder name; called at most once, and only if needed.
    """

    def __init__(self, trace: Trace, reload: Callable[[], dict[str, torch.Tensor]] | None) -> None:
        self._trace = trace
        self._reload = reload
        self._inputs: dict[str, torch.Tensor] | None = None
        self._memo: dict[int, Any] = {}
        self._written: dict[int, int] = {}
        self.known: dict[int, torch.Tensor] = {}

    def wrote(self, storage: int, op: int) -> None:
        """Operator `op` wrote into `storage` in place."""
        self._written[storage] = op

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The real result of `func` on recorded arguments.

        Raises:
            UnknownValueError: some value behind it cannot be known.
        """
        with _disable_current_modes(), torch.no_grad():
            return func(*self._real(args), **{k: self._real(v) for k, v in kwargs.items()})

    def _real(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self._tensor(value)
        if isinstance(value, torch.device):
            return torch.device("cpu")
        if type(value) in (list, tuple):
            return type(value)(self._real(v) for v in value)
        return value

    def _tensor(self, ref: Ref) -> torch.Tensor:
        op = self._trace.ops[ref.op]
        fact = op.outputs[ref.output]
        if fact is not None and self._written.get(fact.storage, -1) > ref.op:
            raise UnknownValueError(f"{_describe(op)} was written to in place afterwards")
        if ref.op not in self._memo:
            self._memo[ref.op] = self._evaluate(op)
        result = self._memo[ref.op]
        return result[ref.output] if isinstance(result, (tuple, list)) else result  # type: ignore[no-any-return]

    def _evaluate(self, op: Op) -> Any:
        if op.kind != "call":
            return self._placeholder(op)
        for fact in op.outputs:
            if fact is not None and torch.Size(fact.shape).numel() > LIMIT:
                raise UnknownValueError(f"{op.name} gives {list(fact.shape)}, too large to work out")
        if torch.Tag.nondeterministic_seeded in op.target.tags:
            return self._draw(op)
        args, kwargs = self._real(op.args), {k: self._real(v) for k, v in op.kwargs.items()}
        if op.target._schema.is_mutable:
            args = tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in args)
        return op.target(*args, **kwargs)

    def _draw(self, op: Op) -> Any:
        """A random number that forward decides by (layer drop): drawn once, from a generator of our own."""
        where = f" at {op.place.file}:{op.place.line}" if op.place else ""
        self._trace.notes.append(f"forward decides by a random number{where}: one draw was taken")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(op.index)
            return op.target(*self._real(op.args), **{k: self._real(v) for k, v in op.kwargs.items()})

    def _placeholder(self, op: Op) -> torch.Tensor:
        if op.index in self.known:
            return self.known[op.index].cpu()  # where there is a GPU, x[[0, -1]] makes a real tensor on it
        if op.kind == "input" and self._reload is not None:
            if self._inputs is None:
                self._inputs = self._reload()
            if op.name in self._inputs and not self._inputs[op.name].is_meta:
                return self._inputs[op.name]
        assumed = self._assume(op)
        if assumed is not None:
            return assumed
        raise UnknownValueError(f"it depends on {_describe(op)}, which has no values here")

    def _assume(self, op: Op) -> torch.Tensor | None:
        """Ids and masks given on meta, without values: ordinary tokens, nothing masked. The report says so."""
        fact = op.outputs[0]
        if op.kind != "input" or fact is None or fact.dtype.is_floating_point or fact.dtype.is_complex:
            return None
        filler = True if fact.dtype == torch.bool else ORDINARY_ID
        self._trace.notes.append(
            f"forward asks for values of {_describe(op)}, given without any: took {filler} throughout"
        )
        return torch.full(fact.shape, filler, dtype=fact.dtype)


def _describe(op: Op) -> str:
    return f"{op.kind} {op.name or '(the only one)'}" if op.kind != "call" else op.name
