"""Values of small tensors, worked out only when forward asks for one.

A fake tensor has no value, but positions, masks and ids usually can have one: they follow from constants and from the
inputs. The record says how every tensor came about, so the answer to `if mask.all()` is found by running just the
operators behind it, for real, on the CPU. Nothing is spent on models that never ask.

The linter asks after forward, through `Trace.value`. That is why a record leads to its `Values`, and why `Values` must
not keep alive what is large: see `Values.settle`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from graphmem._torch import disable_current_modes
from graphmem.how import Assumptions
from graphmem.record import Op, Place, Ref, TensorFact, Trace, UnknownValueError, references, references_in
from graphmem.trace.assumed import assumed
from graphmem.trace.draws import Draws
from graphmem.trace.traits import elements, is_drawn, is_like, storages_of

# No tensor larger than this is computed: 2**26 elements are 64 MiB of booleans, a (1, 1, 8192, 8192) mask.
LIMIT = 2**26
# Once forward is over, no storage of more bytes than this is kept alive for a later question: a mask of 4096 positions
# by 4096 is kept, in booleans; the tables and weights that a model may register as buffers are not.
SMALL = 2**24
# Up to so many elements a value is kept for the next question: a loop over experts asks hundreds about one mask.
KEPT = 2**24
# Above the ids that padding, begin, end and separator usually have.
ORDINARY_ID = 5


class Values:
    """Works out values of one trace.

    Args:
        reload: gives the inputs as real tensors, by placeholder name. It is called only if needed: once for all of
            forward, and once for every question after it.

    Attributes:
        known: values of placeholders, by operator index; while forward runs.
    """

    def __init__(
        self,
        trace: Trace,
        reload: Callable[[], dict[str, torch.Tensor]] | None,
        assumptions: Assumptions,
    ) -> None:
        self._trace = trace
        self._reload = reload
        self._assumptions = assumptions
        self._inputs: dict[str, torch.Tensor] | None = None
        self._writers: dict[int, list[int]] = {}
        self._taken: dict[int, tuple[Any, str]] = {}
        self._draws = Draws()
        self._looked_at = 0
        self._kept: dict[int, tuple[Any, int]] = {}  # by operator: its result, and how often that had been written to
        self._lasting: dict[int, Callable[[], torch.Tensor | None]] = {}
        self._settled = False
        self.known: dict[int, torch.Tensor] = {}

    def wrote(self, storage: int, op: int) -> None:
        """Operator `op` wrote into `storage` in place."""
        self._writers.setdefault(storage, []).append(op)

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The real result of `func` on recorded arguments, now. What cannot be known may be taken for granted, and is
        then noted.

        Raises:
            UnknownValueError: some value behind it cannot be known.
        """
        with self._question():
            return self._answer(func, args, kwargs)

    def value(self, ref: Ref) -> torch.Tensor:
        """A copy of what a tensor holds, as `run` works it out.

        Raises:
            UnknownValueError: some value behind it cannot be known.
        """
        return self.run(torch.ops.aten.clone.default, (ref,), {})  # type: ignore[no-any-return]

    def settle(self) -> None:
        """Forward is over: keep alive what is small, and let go of the rest.

        A large buffer, input or constant is known for as long as its owner lives (the module, or the user's code): it
        is referred to weakly. Everything that was worked out is forgotten, and worked out again if it is asked for.
        """
        self._lasting = {index: _lasting(tensor) for index, tensor in self.known.items()}
        self.known = {}
        self._settled = True
        self._forget()

    @contextmanager
    def _question(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._settled:
                self._forget()

    def _forget(self) -> None:
        self._inputs, self._taken, self._looked_at, self._kept = None, {}, 0, {}

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        self._draws = Draws()
        taken: dict[int, tuple[Any, str]] = {}
        try:
            result = self._run(func, args, kwargs, taken)
        except UnknownValueError:
            taken = self._taken_for_granted()
            if not taken:
                raise
            result = self._run(func, args, kwargs, taken)
        decided_by = self._draws.deciding(result, lambda: self._run(func, args, kwargs, taken))
        if decided_by is not None:
            self._trace.drew = True
            place = decided_by.place
            where = f" at {place.file}:{place.line}" if place else ""
            self._note(f"forward decides by a random number{where}: one draw was taken")
        return result

    def extremes(self, asked: Ref) -> tuple[int, int] | None:
        """The least and the largest element of an integer tensor that is not empty; None where something behind it has
        no value."""
        with self._question():
            try:
                found = self._run(lambda value: (int(value.min()), int(value.max())), (asked,), {}, {})
            except UnknownValueError:
                return None
        return found  # type: ignore[no-any-return]

    def of_inputs(self) -> dict[str, torch.Tensor]:
        """The inputs as real tensors, by placeholder name, as far as they have values."""
        if self._inputs is None:
            with disable_current_modes():
                self._inputs = self._reload() if self._reload else {}
        return self._inputs

    def given(self, place: Place | None) -> float | None:
        """What the user said that this line gets."""
        value = self._assumptions.at(place)
        if value is not None and place is not None:
            self._note(f"{place.file}:{place.line} was answered {value:g}, as given by --assume")
        return value

    def _run(self, func: Any, args: Any, kwargs: Any, taken: dict[int, tuple[Any, str]]) -> Any:
        with disable_current_modes(), torch.no_grad():
            asked = [*references_in(args), *references_in(kwargs.values())]
            needed, known = self._behind(asked, set(taken), use_kept=True)
            if self._in_conflict(needed, known):
                needed, known = self._behind(asked, set(taken), use_kept=False)
            results: dict[int, Any] = {index: self._kept[index][0] for index in known}
            for index in sorted(needed):
                if index in taken:
                    results[index], how = taken[index]
                    place = self._trace.ops[index].place
                    self._note(f"assumed{f' at {place.file}:{place.line}' if place else ''}: {how}")
                else:
                    results[index] = self._evaluate(self._trace.ops[index], results)
            for index in needed if not self._draws.made else ():  # what a draw decides is asked for draw by draw
                op = self._trace.ops[index]
                if elements(op) <= KEPT and all(w in needed for s in storages_of(op) for w in self._writers.get(s, ())):
                    self._kept[index] = results[index], self._times_written(index)
            return func(*_real(args, results), **{k: _real(v, results) for k, v in kwargs.items()})

    def _taken_for_granted(self) -> dict[int, tuple[Any, str]]:
        """Results of operators on floating-point data about which something is taken for granted."""
        new, self._looked_at = self._trace.ops[self._looked_at :], len(self._trace.ops)
        for op in new:
            facts: list[TensorFact | None] = [self._trace.fact(r) for r in references(op)]
            if any(f is not None and f.dtype.is_floating_point for f in facts):
                with disable_current_modes():
                    answer = assumed(op, facts, self._assumptions)
                if answer is not None:
                    self._taken[op.index] = answer
        return self._taken

    def _behind(self, asked: list[Ref], leaves: set[int], *, use_kept: bool) -> tuple[set[int], set[int]]:
        """The operators that the value of `asked` depends on: its makers, theirs, and those that wrote into what they
        read before it was read. Run again in their order, on real tensors that share storages as these do, they give
        the value. The second set are those whose results were kept and are still right; nothing behind them is needed.
        """
        read_until: dict[int, int] = {}
        known: set[int] = set()
        todo = [(ref.op, len(self._trace.ops)) for ref in asked]
        while todo:
            index, reader = todo.pop()
            if read_until.get(index, -1) >= reader:
                continue
            if use_kept and self._still_right(index, reader):
                known.add(index)
                continue
            op = self._trace.ops[index]
            if index not in read_until and index not in leaves and not is_like(op):
                todo += [(ref.op, index) for ref in references(op)]
            read_until[index] = reader
            todo += [(w, w) for s in storages_of(op) for w in self._writers.get(s, ()) if index < w < reader]
        return set(read_until), known

    def _still_right(self, index: int, reader: int) -> bool:
        """Whether a result was kept that is what `reader` would read: after all writes into it, and none since."""
        kept = self._kept.get(index)
        if kept is None or kept[1] != self._times_written(index):
            return False
        return all(w < reader for s in storages_of(self._trace.ops[index]) for w in self._writers.get(s, ()))

    def _times_written(self, index: int) -> int:
        return sum(len(self._writers.get(s, ())) for s in storages_of(self._trace.ops[index]))

    def _in_conflict(self, needed: set[int], known: set[int]) -> bool:
        """Whether running `needed` would write into what was kept, or needs it as it was before it was written to."""
        written = (w for i in known for s in storages_of(self._trace.ops[i]) for w in self._writers.get(s, ()))
        return not needed.isdisjoint(known) or any(w in needed for w in written)

    def _evaluate(self, op: Op, results: dict[int, Any]) -> Any:
        if op.kind != "call":
            return self._placeholder(op)
        for fact in op.outputs:
            if fact is not None and torch.Size(fact.shape).numel() > LIMIT:
                raise UnknownValueError(f"{op.name} gives {list(fact.shape)}, too large to work out")
        if is_like(op):
            fact = self._trace.ops[op.args[0].op].outputs[op.args[0].output]
            assert fact is not None
            results = {
                **results,
                op.args[0].op: (torch.zeros((), dtype=fact.dtype).expand(fact.shape),) * (1 + op.args[0].output),
            }
        args, kwargs = _real(op.args, results), {k: _real(v, results) for k, v in op.kwargs.items()}
        if is_drawn(op):
            return self._draws.draw(op, args, kwargs)
        return op.target(*args, **kwargs)

    def _note(self, text: str) -> None:
        if text not in self._trace.notes:
            self._trace.notes.append(text)

    def _placeholder(self, op: Op) -> torch.Tensor:
        known = self._known(op.index)
        if known is not None:
            # A copy, since it may be written to; on the CPU, since x[[0, -1]] makes a real index on a GPU if any.
            return known.cpu().clone()
        if op.kind == "input":
            value = self.of_inputs().get(op.name)
            if value is not None and not value.is_meta:
                return value.clone()
        assumed = self._assume(op) if elements(op) <= LIMIT else None
        if assumed is not None:
            return assumed
        raise UnknownValueError(f"it depends on {_describe(op)}, which has no values here")

    def _known(self, index: int) -> torch.Tensor | None:
        lasting = self._lasting.get(index)
        return lasting() if lasting is not None else self.known.get(index)

    def _assume(self, op: Op) -> torch.Tensor | None:
        """Ids and masks given on meta, without values: ordinary tokens, nothing masked. The report says so."""
        fact = op.outputs[0]
        if op.kind != "input" or fact is None or fact.dtype.is_floating_point or fact.dtype.is_complex:
            return None
        filler = True if fact.dtype == torch.bool else ORDINARY_ID
        self._note(f"forward asks for values of {_describe(op)}, given without any: took {filler} throughout")
        return torch.full(fact.shape, filler, dtype=fact.dtype)


def _lasting(tensor: torch.Tensor) -> Callable[[], torch.Tensor | None]:
    """How a value is reached once forward is over."""
    try:
        is_small = tensor.untyped_storage().nbytes() <= SMALL
    except (NotImplementedError, RuntimeError):  # sparse and other layouts without one storage
        is_small = False
    if not is_small:
        return weakref.ref(tensor)
    kept = tensor.detach().cpu()  # without its autograd graph, and without a GPU's memory
    return lambda: kept


def _describe(op: Op) -> str:
    return f"{op.kind} {op.name or '(the only one)'}" if op.kind != "call" else op.name


def _real(value: Any, results: dict[int, Any]) -> Any:
    """Recorded arguments with results in place of references, and the CPU in place of any device."""
    if isinstance(value, Ref):
        result = results[value.op]
        return result[value.output] if isinstance(result, (tuple, list)) else result
    if isinstance(value, torch.device):
        return torch.device("cpu")
    if type(value) in (list, tuple):
        return type(value)(_real(v, results) for v in value)
    return value
