"""`Recorder`: watches a forward from three sides and writes a record of it.

- a dispatch mode above fake mode sees every ATen operator below autograd (this file, tape.py, results.py);
- saved-tensor hooks see every tensor that autograd packs, and when it lets go of it (packs.py);
- module hooks say which module is running (calls.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from graphmem._torch import DispatchMode, sequence_number
from graphmem.errors import TooLongError
from graphmem.record import NO_NODE, Trace
from graphmem.trace.calls import Calls
from graphmem.trace.fates import Saved, settle
from graphmem.trace.frames import Frames
from graphmem.trace.packs import Packs
from graphmem.trace.results import Results
from graphmem.trace.tape import Tape
from graphmem.trace.values import Values

_DEVICE = torch.ops.prim.device.default


class Recorder(DispatchMode):
    """Fills `record`: `tape.placeholder` for what exists before forward, `watching` around forward, `finish` after it.

    Args:
        ask: fake mode's answer to (func, args, kwargs).
        most: the number of operators at which it gives up; None for no limit.
    """

    def __init__(
        self,
        record: Trace,
        module: torch.nn.Module,
        values: Values,
        ask: Callable[[Any, Any, Any], Any],
        most: int | None = None,
    ) -> None:
        super().__init__()
        self._record, self._values, self._most = record, values, most
        self._frames = Frames()
        self._results = Results(record, values, self._frames, ask)
        self.tape = Tape(record, values)
        self.calls = Calls(record, module)
        # Not a method of this object: autograd's nodes hold the hooks, and would hold the recorder with them.
        self._packs = Packs(partial(_saved, self.tape, self.calls, self._frames), strict=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record until the block ends. Fake mode must already be active."""
        with self.calls.followed(), self._packs.hooks(), self:
            yield

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question about a tensor, mostly its device: nothing is computed
            return args[0].device if func is _DEVICE else func(*args, **kwargs)
        if self._most is not None and len(self._record.ops) >= self._most:
            raise TooLongError(f"forward runs more than {self._most} operators")
        sequence = NO_NODE if self._packs.packing else sequence_number()
        described = tuple(map(self.tape.described, args)), {k: self.tape.described(v) for k, v in kwargs.items()}
        result = self._results.of(func, args, kwargs, described)
        stack, compiled = self._frames.users()
        self._record.compiled |= compiled
        self.tape.operator(func, args, described, result, call=self.calls.now, stack=stack, sequence=sequence)
        return result

    def finish(self, held: Sequence[torch.Tensor], buffers: Sequence[torch.Tensor]) -> None:
        """Write down what became of every storage, and let go of large values; see `settle` for the arguments."""
        settle(self.tape, self._packs, held, buffers)
        self._values.settle()


def _saved(tape: Tape, calls: Calls, frames: Frames, tensor: torch.Tensor) -> Saved:
    return Saved(tape.entered(tensor), calls.now, frames.checkpoint())
