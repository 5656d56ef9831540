"""What forward returns beside its loss: logits, hidden states, a cache of keys and values.

A training loop mostly holds them until the next step (`output = model(**batch)`), and with them their graph. What is
counted as alive is what the loss alone holds, so this is counted apart.
"""

from __future__ import annotations

from typing import NamedTuple

from graphmem.record import Trace
from graphmem.trace.outputs import output_tensors
from graphmem.trace.starts import Starts
from graphmem.trace.tape import Tape


class Beside(NamedTuple):
    """living: the storages that are alive while the caller holds all outputs. named: those in each output."""

    living: set[int]
    named: dict[str, set[int]]

    @classmethod
    def of(cls, tape: Tape, starts: Starts) -> Beside:
        """While the outputs are there; it holds none of them."""
        named = {
            name: {storage.index for tensor in output_tensors(part) if (storage := tape.known(tensor)) is not None}
            for name, part in starts.beside.items()
        }
        return cls(tape.living(), named)

    def note(self, record: Trace) -> None:
        """Once the outputs are gone, and it is known what else is alive."""
        only = {i for i in self.living if not record.storages[i].alive and record.storages[i].origin == "forward"}
        for index in only:
            record.storages[index].beside = True
        record.beside = tuple(name for name, storages in self.named.items() if storages & only)
