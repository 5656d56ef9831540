"""Norms that are written out, operator by operator, and the fused norm that could stand there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.record import Op, Place, Ref, Trace, references
from graphmem.record.flow import Flow
from graphmem.trace.replay import Swap

_aten = torch.ops.aten
RMS, LAYER = "RMSNorm", "LayerNorm"


@dataclass(frozen=True)
class Norm:
    """x: what is normalised, before any cast; weight, bias: what the result is multiplied with and what is added.

    kind: RMS or LAYER. place: the line that makes the root. ops: all from the cast to the result, which the last makes.
    """

    kind: str
    x: Ref
    weight: Ref | None
    bias: Ref | None
    epsilon: float
    place: Place | None
    ops: frozenset[int]

    @property
    def result(self) -> Ref:
        return Ref(max(self.ops), 0)

    @property
    def key(self) -> tuple[str, Place | None]:
        """What the norms of one line share."""
        return self.kind, self.place


def norms(flow: Flow) -> Iterator[Norm]:
    """Every norm over the last dimension that a fused kernel could make: (x - mean) / sqrt(variance + eps), or without
    the mean, times a weight and plus a bias of x's type."""
    for op in flow.trace.ops:
        if op.kind == "call" and op.target.overloadpacket in (_aten.rsqrt, _aten.sqrt):
            found = _Reader(flow).read(op)
            if found is not None:
                yield found


def fused(key: object, trace: Trace) -> list[Swap]:
    """The fused norm for all norms of a line."""
    return [_swap(norm) for norm in norms(Flow(trace)) if norm.key == key]


def _swap(norm: Norm) -> Swap:
    given = [ref for ref in (norm.weight, norm.bias) if ref is not None]
    make = partial(_fused, norm.kind, norm.epsilon, norm.weight is not None)
    return Swap(norm.result, (norm.x, *given), make)


def _fused(kind: str, epsilon: float, weighted: bool, x: Tensor, *given: Tensor) -> Tensor:
    known = [t.to(x.dtype).flatten() for t in given]
    weight = known.pop(0) if weighted else None
    if kind == RMS:
        return F.rms_norm(x, x.shape[-1:], weight, epsilon)
    return F.layer_norm(x, x.shape[-1:], weight, known[0] if known else None, epsilon)


class _Reader:
    """Reads one norm, from its root outwards, and collects its operators."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.ops = flow, set[int]()

    def read(self, root: Op) -> Norm | None:
        """The norm around `root`, the square root; None if this is not one, or if something else uses its parts."""
        kind, x, epsilon = self._variance(self._only(root.index))
        scaled = [i for i in self._users(root.index) if x is not None and self._scales(i, root, kind, x)]
        if x is None or len(scaled) != 1 or self._users(root.index) != scaled:
            return None
        self.ops |= {root.index, scaled[0]}
        weight, bias, last = self._affine(scaled[0], kind)
        x = self._before_cast(x, last)
        stored = [self._stored(ref) for ref in (weight, bias) if ref is not None]
        if x is None or not self._closed(last) or any(self._dtype(ref) != self._dtype(x) for ref in stored):
            return None
        return Norm(kind, x, weight, bias, epsilon, root.place, frozenset(self.ops))

    def _variance(self, ref: Ref | None) -> tuple[str, Ref | None, float]:
        """What `ref` is the variance of, or the mean square, after an epsilon was added."""
        epsilon = 0.0
        if ref is not None and self._packet(ref) is _aten.add and isinstance(self._op(ref).args[1], float | int):
            epsilon = float(self._op(ref).args[1])
            self.ops.add(ref.op)
            ref = self._only(ref.op)
        if ref is None:
            return RMS, None, epsilon
        if self._packet(ref) in (_aten.var, _aten.var_mean):
            op = self._op(ref)
            biased = op.kwargs.get("correction", 1) == 0 and self._over_last(op, op.kwargs.get("keepdim"))
            self.ops.add(ref.op)
            return LAYER, self._only(ref.op) if biased and ref.output == 0 else None, epsilon
        squared = self._squared(self._mean_of(ref))
        if squared is None:
            return RMS, None, epsilon
        centred = self._centred(squared)
        return (RMS, squared, epsilon) if centred is None else (LAYER, centred, epsilon)

    def _mean_of(self, ref: Ref | None) -> Ref | None:
        if ref is None or self._packet(ref) is not _aten.mean:
            return None
        op = self._op(ref)
        if not self._over_last(op, len(op.args) > 2 and op.args[2]):
            return None
        self.ops.add(ref.op)
        return self._only(ref.op)

    def _squared(self, ref: Ref | None) -> Ref | None:
        if ref is None:
            return None
        sources = self._sources(ref)
        power = self._packet(ref) is _aten.pow and self._op(ref).args[1] == 2
        twice = self._packet(ref) is _aten.mul and len(sources) == 2 and sources[0] == sources[1]
        if not power and not twice:
            return None
        self.ops.add(ref.op)
        return sources[0]

    def _centred(self, ref: Ref) -> Ref | None:
        """x of x - mean(x)."""
        sources = self._sources(ref)
        if self._packet(ref) is not _aten.sub or len(sources) != 2:
            return None
        x, mean = sources
        made_by_var = self._packet(mean) is _aten.var_mean and mean.output == 1 and mean.op in self.ops
        if not made_by_var and self._mean_of(mean) != x:
            return None
        self.ops.add(ref.op)
        return x

    def _scales(self, index: int, root: Op, kind: str, x: Ref) -> bool:
        """Whether the operator is x, without its mean for a LayerNorm, times 1 / root or divided by root."""
        wanted = _aten.mul if root.target.overloadpacket is _aten.rsqrt else _aten.div
        others = [r for r in self._sources(Ref(index, 0)) if r.op != root.index]
        if self.flow.packet(index) is not wanted or len(others) != 1:
            return False
        return others[0] == x if kind == RMS else self._centred(others[0]) == x

    def _affine(self, index: int, kind: str) -> tuple[Ref | None, Ref | None, int]:
        """From the normalised value over casts to the product with the weight and the sum with the bias."""
        weight: Ref | None = None
        bias: Ref | None = None
        while len(users := self._users(index)) == 1:
            (user,) = users
            others = [r for r in self._sources(Ref(user, 0)) if r.op != index]
            packet = self.flow.packet(user)
            if len(others) == 1 and self._is_vector(others[0], Ref(user, 0)):
                if packet is _aten.mul and weight is None and bias is None:
                    weight = self._uncast(others[0])
                elif packet is _aten.add and bias is None and kind == LAYER and weight is not None:
                    bias = self._uncast(others[0])
                else:
                    break
            elif packet is not _aten._to_copy:
                break
            self.ops.add(user)
            index = user
        return weight, bias, index

    def _is_vector(self, ref: Ref, of: Ref) -> bool:
        """Whether it is a weight with one number for each column, as fused norms take it."""
        weight, whole = self.flow.fact(ref), self.flow.fact(of)
        if weight is None or whole is None or not weight.shape or not self.flow.is_weight(ref.op):
            return False
        return math.prod(weight.shape) == weight.shape[-1] == whole.shape[-1]

    def _uncast(self, ref: Ref) -> Ref:
        """A weight before it was cast for this product, which the fused norm does without."""
        return self._sources(ref)[0] if self._packet(ref) is _aten._to_copy else ref

    def _before_cast(self, x: Ref, last: int) -> Ref | None:
        """x before it was cast, if the result is cast back. None where the cast is used for something else as well."""
        if self._packet(x) is not _aten._to_copy:
            return x
        (source,) = self._sources(x)
        if self._dtype(source) != self._dtype(Ref(last, 0)):
            return x
        self.ops.add(x.op)
        return source

    def _closed(self, last: int) -> bool:
        """Whether nobody else uses what the operators make."""
        return all(set(self._users(i)) <= self.ops for i in self.ops - {last})

    def _stored(self, ref: Ref) -> Ref:
        """The parameter itself: Gemma adds 1 to it in float32."""
        while self._op(ref).kind == "call" and self._sources(ref):
            ref = self._sources(ref)[0]
        return ref

    def _over_last(self, op: Op, keeps: object) -> bool:
        fact = self.flow.fact(references(op)[0])
        return fact is not None and keeps is True and list(op.args[1] or ()) in ([-1], [len(fact.shape) - 1])

    def _only(self, index: int) -> Ref | None:
        sources = references(self.flow.trace.ops[index])
        return sources[0] if len(sources) == 1 else None

    def _users(self, index: int) -> list[int]:
        return self.flow.users(index)

    def _op(self, ref: Ref) -> Op:
        return self.flow.trace.ops[ref.op]

    def _packet(self, ref: Ref) -> object:
        return self.flow.packet(ref.op)

    def _sources(self, ref: Ref) -> list[Ref]:
        return references(self._op(ref))

    def _dtype(self, ref: Ref) -> torch.dtype | None:
        fact = self.flow.fact(ref)
        return fact.dtype if fact is not None else None
