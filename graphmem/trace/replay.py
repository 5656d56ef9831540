"""A trace run again, operator by operator, with some of it swapped: what a model would keep if it were changed.

Custom autograd functions and checkpointing stand above the operators and are not in a trace. So a replay is only worth
something if, with nothing swapped, it keeps what the trace kept; `graphmem.linter.remeasure` asks for that first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from graphmem._torch import schema_of
from graphmem.how import How
from graphmem.machine import Machine
from graphmem.record import Op, Ref, Trace, references, saves_what_it_overwrites
from graphmem.trace.calls import Calls
from graphmem.trace.forward import trace

_aten = torch.ops.aten


@dataclass(frozen=True)
class Swap:
    """`result` is made by `make` of the tensors `takes`; what only the old operator needed does not run."""

    result: Ref
    takes: tuple[Ref, ...]
    make: Callable[..., torch.Tensor]


def checkpointed(original: Trace, ops: Collection[int], result: Ref) -> Swap:
    """A swap that runs `ops`, which end in `result`, in a checkpoint: what they take is kept, what they make is
    made again in backward."""
    order = sorted(ops)
    needed = [ref for i in order for ref in references(original.ops[i])]
    takes = tuple(dict.fromkeys(ref for ref in needed if ref.op not in ops))

    def run(*given: torch.Tensor) -> torch.Tensor:
        outside, made = dict(zip(takes, given, strict=True)), dict[int, Any]()
        for index in order:
            made[index] = _run(
                original, original.ops[index], lambda ref: outside[ref] if ref in outside else _result(made, ref)
            )
        return _result(made, result)

    return Swap(result, takes, partial(checkpoint, run, use_reentrant=False))


def replay(original: Trace, swaps: Sequence[Swap], machine: Machine) -> Trace:
    """The trace of `original`'s operators with `swaps`; module calls are those of the original."""
    module = _Replayed(original, {swap.result.op: swap for swap in swaps})

    def drive(_module: nn.Module, args: tuple[Any, ...], _kwargs: dict[str, Any], calls: Calls) -> Any:
        return module.run(args, calls)

    return trace(module, module.inputs(), How(machine=machine), point=original.point, drive=drive)


class _Replayed(nn.Module):
    def __init__(self, original: Trace, swaps: dict[int, Swap]) -> None:
        super().__init__()
        self.original, self.swaps = original, swaps
        self.held = _held(original)
        self.ops = _needed(original, swaps, self.held)
        for op in original.ops:
            if op.kind == "parameter":
                setattr(self, f"p{op.index}", nn.Parameter(_blank(op), requires_grad=_fact(op).requires_grad))

    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Buffers, constants and inputs, in their order."""
        return tuple(_blank(op).requires_grad_(_fact(op).requires_grad) for op in self._others())

    def _others(self) -> list[Op]:
        return [op for op in self.original.ops if op.kind not in ("call", "parameter")]

    def run(self, others: Sequence[torch.Tensor], calls: Calls) -> list[torch.Tensor]:
        """Forward, with what `inputs` gave; the module calls are said to be those of the original."""
        calls.take_over(self.original)
        given = {op.index: tensor for op, tensor in zip(self._others(), others, strict=True)}
        made: dict[int, Any] = {}
        find = partial(_result, made)
        last = _last_uses(self.original, self.ops, self.swaps, self.held)
        for op, differentiated in _differentiated(self.original):
            if op.index not in self.ops:
                continue
            calls.now = op.call
            if op.kind != "call":
                made[op.index] = given[op.index] if op.index in given else getattr(self, f"p{op.index}")
            else:
                swap = self.swaps.get(op.index)
                # Nothing flows into what needs no gradient, but a view made without gradients cannot be written to.
                needs = any(find(ref).requires_grad for ref in _takes(op, self.swaps))
                with torch.set_grad_enabled(differentiated or swap is not None or not needs):
                    made[op.index] = _swapped(swap, op, made) if swap else _run(self.original, op, find)
            for index in last.get(op.index, ()):  # a tensor lives no longer than it did
                made.pop(index, None)
        return [_result(made, ref) for ref in self.held]


def _differentiated(trace: Trace) -> Iterator[tuple[Op, bool]]:
    """Every operator, and whether autograd made a node for it: then its number went up."""
    sequence, before = 0, None
    for op in trace.ops:
        yield op, op.sequence > sequence or (before is not None and saves_what_it_overwrites(before, op))
        sequence, before = max(sequence, op.sequence), op


def _held(trace: Trace) -> list[Ref]:
    """What the caller holds after forward: for each storage the last tensor that was made of it."""
    last: dict[int, Ref] = {}
    for op in trace.ops:
        for i, fact in enumerate(op.outputs):
            if fact is not None and trace.storages[fact.storage].held and op.kind == "call":
                last[fact.storage] = Ref(op.index, i)
    return list(last.values())


def _needed(trace: Trace, swaps: dict[int, Swap], held: Sequence[Ref]) -> set[int]:
    """The operators behind what is held, and those that write into something."""
    writes = [op.index for op in trace.ops if op.kind == "call" and schema_of(op.target).is_mutable]
    ends = [*(ref.op for ref in held), *writes]
    return {op.index for op in trace.behind(ends, lambda op: _takes(op, swaps))}


def _takes(op: Op, swaps: dict[int, Swap]) -> Sequence[Ref]:
    swap = swaps.get(op.index)
    return swap.takes if swap else references(op)


def _last_uses(trace: Trace, needed: set[int], swaps: dict[int, Swap], held: Sequence[Ref]) -> dict[int, list[int]]:
    """Operator -> those whose results nobody needs once it has run."""
    last = {index: index for index in needed}
    for index in sorted(needed):
        last.update((ref.op, index) for ref in _takes(trace.ops[index], swaps))
    ends: dict[int, list[int]] = {}
    for index in set(last) - {ref.op for ref in held}:
        ends.setdefault(last[index], []).append(index)
    return ends


def _blank(op: Op) -> torch.Tensor:
    fact = _fact(op)
    return torch.empty_strided(fact.shape, fact.stride, dtype=fact.dtype, device="meta")


def _fact(op: Op) -> Any:
    return op.outputs[0]


def _result(made: Mapping[int, Any], ref: Ref) -> torch.Tensor:
    value = made[ref.op]
    return value[ref.output] if isinstance(value, (tuple, list)) else value  # type: ignore[no-any-return]


def _swapped(swap: Swap, op: Op, made: dict[int, Any]) -> Any:
    value = swap.make(*(_result(made, ref) for ref in swap.takes))
    if len(op.outputs) == 1:
        return value
    return [value if i == swap.result.output else None for i in range(len(op.outputs))]


def _run(original: Trace, op: Op, find: Callable[[Ref], torch.Tensor]) -> Any:
    args, kwargs = _real(op.args, find), {k: _real(v, find) for k, v in op.kwargs.items()}
    packet = op.target.overloadpacket
    # Where layouts or types have changed, a copy may no longer be needed, or be needed now: call what decides that.
    if packet is _aten.clone and kwargs.get("memory_format") is torch.contiguous_format:
        return args[0].contiguous()
    if packet in (_aten.view, _aten._unsafe_view) and isinstance(args[1], (list, tuple)):
        return args[0].reshape(args[1])
    if packet is _aten._to_copy and _is_cast(original, op) and args[0].dtype == kwargs.get("dtype"):
        return args[0]
    return op.target(*args, **kwargs)


def _is_cast(original: Trace, op: Op) -> bool:
    """Whether the copy was made for another type, and for nothing else that the record says."""
    before, after = original.ops[op.args[0].op].outputs[op.args[0].output], op.outputs[0]
    return before is not None and after is not None and before.dtype != after.dtype


def _real(value: Any, find: Callable[[Ref], torch.Tensor]) -> Any:
    if isinstance(value, Ref):
        return find(value)
    if type(value) in (list, tuple):
        return type(value)(_real(v, find) for v in value)
    return value
