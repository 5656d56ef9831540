"""What rules ask about a report: its trace, who keeps what, and how a number grows with the symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import sympy

from graphmem.accounts.account import Kept
from graphmem.accounts.saved import SAVED
from graphmem.analysis.analysis import Analysis
from graphmem.analysis.report import Report
from graphmem.attention import Site
from graphmem.machine import Machine
from graphmem.record import Op, Ref, SdpaCall, SdpaFacts, TensorFact, Trace, references
from graphmem.record.flow import Flow
from graphmem.record.paths import folded
from graphmem.report import AttentionRow
from graphmem.symbolic.derivation import Derivation, Group


class Context:
    """A report at one point, with the trace behind it.

    budget: bytes that forward may leave alive, None for no limit. asked: the symbols that the user moved.
    """

    def __init__(
        self, report: Report, *, flow: Flow | None = None, budget: int | None = None, asked: Iterable[str] = ()
    ) -> None:
        self.report, self.budget, self.asked = report, budget, frozenset(asked)
        self._flow = flow

    @property
    def analysis(self) -> Analysis:
        return self.report.analysis

    @property
    def derived(self) -> Derivation:
        return self.analysis.derived

    @property
    def machine(self) -> Machine:
        return self.analysis.machine

    @property
    def trace(self) -> Trace:
        return self.derived.trace

    @property
    def point(self) -> Mapping[str, int]:
        return {**self.analysis.working, **self.report.symbols}

    @cached_property
    def flow(self) -> Flow:
        return self._flow or Flow(self.trace)

    @cached_property
    def kept(self) -> dict[int, Kept]:
        """What is saved for backward, by storage."""
        return {k.storage: k for k in self.derived.kept if k.table == SAVED}

    @cached_property
    def attention(self) -> list[tuple[AttentionRow, list[Site]]]:
        """The rows of the report, each with its sites in the trace."""
        sites = [sites for sites, _ in self.analysis.sites.values()]
        return list(zip(self.report.attention, sites, strict=True))

    def group(self, storage: int) -> Group:
        """The saved storages that are like this one in other layers."""
        return self.derived.group_of[storage]

    def one(self, storage: int) -> sympy.Expr:
        """A storage's bytes, saved or not."""
        if storage in self.kept:
            return self.group(storage).size
        return self.size(self.trace.storages[storage].born)

    def size(self, ref: Ref) -> sympy.Expr:
        """A tensor's bytes; the number that was traced where a dimension has no expression."""
        fact, dims = self.fact(ref), self.derived.shape(ref)
        if dims is None:
            dims = tuple(sympy.Integer(n) for n in fact.shape)
        return sympy.expand(sympy.Mul(*dims) * fact.dtype.itemsize)

    def fact(self, ref: Ref) -> TensorFact:
        found = self.flow.fact(ref)
        assert found is not None, "asked of a tensor"
        return found

    def storage(self, index: int, output: int = 0) -> int:
        """The storage of an operator's result."""
        return self.fact(Ref(index, output)).storage

    @property
    def sdpa(self) -> list[tuple[SdpaCall, SdpaFacts]]:
        """The calls of scaled_dot_product_attention, with what decided their kernel; none on the CPU, where torch
        decides."""
        return [(call, call.facts) for call in self.trace.sdpa if call.facts is not None]

    def op(self, index: int) -> Op:
        return self.trace.ops[index]

    def packet(self, index: int) -> object:
        return self.flow.packet(index)

    def calls(self, *packets: object) -> Iterator[Op]:
        """Every operator that is one of these."""
        for op in self.trace.ops:
            if op.kind == "call" and op.target.overloadpacket in packets:
                yield op

    def takes(self, index: int) -> list[Ref]:
        """The tensors that an operator takes."""
        return references(self.op(index))

    def users(self, index: int) -> list[int]:
        """The operators that take its results."""
        return self.flow.users(index)

    def source(self, ref: Ref) -> Ref:
        """The tensor before any views of it."""
        while (op := self.op(ref.op)).kind == "call" and op.target.is_view and self.takes(ref.op):
            ref = self.takes(ref.op)[0]
        return ref

    def module(self, index: int) -> str:
        """The module, with layer numbers, whose forward ran the operator."""
        op = self.op(index)
        return self.trace.calls[op.call].path if op.call >= 0 else ""

    def folded(self, module: str) -> str:
        return folded(module, self.trace.containers)[0]

    def only_within(self, storage: int, ops: Iterable[int]) -> bool:
        """Whether all that keep a saved storage belong to `ops`."""
        keeps = self.trace.storages[storage].keeps
        ops = set(ops)
        return bool(keeps) and all(keep.op in ops for keep in keeps)

    def label(self, module: str) -> str:
        """A folded path with the layers' numbers as a range."""
        labels = {row.path: row.label for row in self.report.modules}
        labels |= {row.module: row.label for row in self.report.attention}
        return labels.get(module, module) or "(the model)"
