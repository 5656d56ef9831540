"""What a trace writes down: facts only, no tensor among them.

Trace.ops        every ATen operator that ran, in order, with its arguments as references to earlier operators
Trace.storages   every storage that those operators, the parameters or the inputs brought, with its fate
Trace.calls      the module calls that were under way

`Trace.value` is a function, and the only way from a record to tensors: it works out what a small tensor held. What it
needs for that, the values of constants, inputs and buffers, it keeps alive only where it is small (`Values.settle` in
graphmem.trace.values). It is part of the record, and not beside it in a pair, because only two questions of the linter
ever use it, and those have a record at hand that came through the whole derivation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from graphmem._torch import schema_of
from graphmem.record.sdpa import SdpaFacts

# The attribute by which a tensor of the forward under way knows its Ref.
MARK = "_graphmem_ref"
# Names of keepers that are not nodes of backward's graph.
CHECKPOINT = "Checkpoint"  # not a node: a checkpoint without reentering holds its inputs itself
UNREACHED = "an autograd node that the outputs do not reach"
# In place of autograd's number, for operators that a hook of the model's runs while a node saves a tensor.
NO_NODE = -1


class Place(NamedTuple):
    """A line of Python."""

    file: str
    line: int
    function: str


class Ref(NamedTuple):
    """Output `output` of operator `op`, both counted from 0."""

    op: int
    output: int


class Call(NamedTuple):
    """A module call: its dotted path, its class, and the index of the call it was made from (-1 for none)."""

    path: str
    cls: str
    parent: int


class TensorFact(NamedTuple):
    """A tensor as an operator made it. `storage` indexes Trace.storages; stride and offset count elements."""

    storage: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: str
    requires_grad: bool


@dataclass(frozen=True, slots=True)
class Op:
    """An ATen operator that ran, or a placeholder that stands for a parameter, a buffer or an input.

    target: the OpOverload; for a placeholder its name.
    outputs: one entry for each value returned, None where it is not a tensor.
    call: index into Trace.calls of the innermost module call.
    stack: the user's lines under way, innermost first; torch's and graphmem's own are left out.
    sequence: autograd's sequence number at the time, by which operators and autograd nodes find each other; NO_NODE for
        what a hook of the model's runs while a node saves a tensor.
    kind: "call", "parameter", "buffer" or "input".
    """

    index: int
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[TensorFact | None, ...]
    call: int
    stack: tuple[Place, ...]
    sequence: int
    kind: str = "call"

    @property
    def name(self) -> str:
        """``aten.mm.default``; a placeholder's own name."""
        return str(self.target)

    @property
    def place(self) -> Place | None:
        return self.stack[0] if self.stack else None


@dataclass(frozen=True, slots=True)
class Keep:
    """One autograd node that holds a storage after forward.

    node: the node's name, such as "MulBackward0".
    op: index of the operator that the node differentiates, -1 where none was found.
    call: the module call in which the tensor was saved.
    checkpoint: for what a checkpoint holds as its input, the line that checkpoints.
    """

    node: str
    op: int
    call: int
    checkpoint: Place | None = None


@dataclass(slots=True)
class Storage:
    """One block of memory and its fate. `nbytes` are logical bytes; `born` is the operator output that made it.

    origin: "forward", or "parameter", "buffer", "input" for what was there before.
    alive: something still holds it when the caller keeps only the loss (the outputs, if there is no loss).
    held: it belongs to what the caller keeps. beside: only what forward returned beside its loss holds it.
    keeps: who saved it. packed: its place in the order in which autograd packed storages; -1 if it is not saved.
    """

    index: int
    nbytes: int
    device: str
    born: Ref
    origin: str
    alive: bool = False
    held: bool = False
    beside: bool = False
    keeps: tuple[Keep, ...] = ()
    packed: int = -1


@dataclass(frozen=True, slots=True)
class SdpaCall:
    """One F.scaled_dot_product_attention: its operators are Trace.ops[start:stop].

    backend: "cudnn", "flash", "efficient" or "math".
    refused: for each backend that would have come before it, the first rule that refused it.
    facts: what the choice depended on; None on the CPU, where torch chooses. operands: q, k, v and the mask, None for
    what was not recorded.
    """

    start: int
    stop: int
    backend: str
    refused: tuple[tuple[str, str], ...]
    facts: SdpaFacts | None
    operands: tuple[Ref | None, ...] = ()


class Left(NamedTuple):
    """A tensor with a graph behind it that a module holds after forward: in `name` of the module at path `module`.

    grows: more of them come with each step, unless something empties what holds them.
    """

    module: str
    name: str
    storage: int
    grows: bool


class UnknownValueError(Exception):
    """The value of a tensor depends on something that has no value; the message says on what."""


def _unknown(_ref: Ref) -> torch.Tensor:
    raise UnknownValueError("nothing in this record has values")


@dataclass(slots=True)
class Trace:
    """One forward.

    containers: paths of the module lists whose children are of one class, or of few: layers, experts.
    sdpa: the calls of scaled_dot_product_attention that graphmem decided.
    left: what forward leaves in the model with a graph behind it.
    beside: names of outputs beside the loss that hold something which nothing else does.
    notes: what had to be assumed, for the report.
    drew: forward decided by a random number, so another layer may decide otherwise.
    compiled: something ran that torch.compile made; it was run as it was written.
    differentiable: backward can start: what the caller holds has an autograd graph.
    value: works out what a small tensor held; raises UnknownValueError where that cannot be known.
    """

    point: dict[str, int]
    device: str
    ops: list[Op] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    containers: frozenset[str] = frozenset()
    sdpa: list[SdpaCall] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    beside: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    drew: bool = False
    compiled: bool = False
    differentiable: bool = False
    value: Callable[[Ref], torch.Tensor] = field(default=_unknown, repr=False, compare=False)

    @property
    def kernels(self) -> list[str | None]:
        """The kernel of every call of scaled_dot_product_attention, as its rules chose it; None on the CPU, where torch
        chooses."""
        return [call.backend if call.facts else None for call in self.sdpa]

    def signature(self) -> list[tuple[str, int]]:
        """What two traces must share for their operators to correspond one to one."""
        return [(op.name, op.call) for op in self.ops]

    def fact(self, ref: Ref) -> TensorFact | None:
        """What is known of the tensor; None where it has no storage."""
        return self.ops[ref.op].outputs[ref.output]

    def requires_grad(self, ref: Ref) -> bool:
        """Whether a gradient flows into a tensor. Operators are seen below autograd, where no result says so; but
        autograd's number goes up with every node that it makes."""
        op = self.ops[ref.op]
        fact = op.outputs[ref.output]
        if op.kind != "call":
            return fact is not None and fact.requires_grad
        before = [b for b in self.ops[: ref.op] if b.sequence != NO_NODE]
        return op.sequence > max((b.sequence for b in before), default=0) or (
            bool(before) and saves_what_it_overwrites(before[-1], op)
        )

    def behind(self, indexes: Iterable[int], takes: Callable[[Op], Iterable[Ref]] | None = None) -> Iterator[Op]:
        """Those operators and all whose results they depend on, each once.

        Args:
            takes: the results that an operator depends on; by default all that it takes.
        """
        seen: set[int] = set()
        todo = list(indexes)
        while todo:
            index = todo.pop()
            if index not in seen:
                seen.add(index)
                yield (op := self.ops[index])
                todo += [ref.op for ref in (takes or references)(op)]

    def common_module(self, calls: Iterable[int]) -> str:
        """The path of the innermost module call within which all of `calls` are; "" for none."""
        paths = [self.call_path(call) for call in calls]
        common = 0
        while paths and all(len(p) > common for p in paths) and len({p[common] for p in paths}) == 1:
            common += 1
        return self.calls[paths[0][common - 1]].path if common else ""

    def call_path(self, call: int) -> tuple[int, ...]:
        """The indexes of the calls under way in call `call`, outermost first."""
        path = []
        while call >= 0:
            path.append(call)
            call = self.calls[call].parent
        return tuple(reversed(path))


def saves_what_it_overwrites(clone: Op, op: Op) -> bool:
    """Whether `clone` was made by autograd for `op`, which comes next: an operator that writes into what its own
    derivative needs. Its node is made first, then the clone's, if that has one, and only then do both run."""
    return (
        clone.kind == op.kind == "call"
        and clone.target is torch.ops.aten.clone.default
        and schema_of(op.target).is_mutable
        and clone.sequence == op.sequence
        and clone.args[0] == op.args[0]
    )


def references(op: Op) -> list[Ref]:
    """The results that an operator takes."""
    return references_in([*op.args, *op.kwargs.values()])


def references_in(values: Iterable[Any]) -> list[Ref]:
    """Every reference in recorded arguments, also in lists and tuples."""
    found: list[Ref] = []
    for value in values:
        if isinstance(value, Ref):
            found.append(value)
        elif type(value) in (list, tuple):
            found += references_in(value)
    return found
