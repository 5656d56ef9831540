"""Does it fit: what a step needs by its own prediction, what the device has, and what to say where it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from graphmem.errors import MemoryLimitError
from graphmem.points import Point, as_text
from graphmem.units import human
from graphmem.validation.predict import Expected, Prediction

_CAUSES = 3


def free_memory(device: str) -> int | None:
    """Bytes that a run can still get on `device`; None where that cannot be found out."""
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    try:  # Linux
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def refuse_what_cannot_fit(predictions: Sequence[Prediction], device: str) -> None:
    """Compare with the memory that is free.

    Raises:
        MemoryLimitError: a point needs more, by its own prediction.
    """
    free = free_memory(device)
    worst = max(predictions, key=lambda p: p.needed)
    if free is not None and worst.needed > free:
        raise MemoryLimitError(
            f"{named(worst.point)} needs at least {human(worst.needed)}, and {human(free)} are free; nothing was run\n"
            + account(worst),
            hint="make it smaller, or try it anyway with --force",
        )


def out_of_memory(prediction: Prediction, during: str) -> str:
    """The message if a run was tried and did not fit."""
    return (
        f"{named(prediction.point)}: out of memory in {during}; "
        f"the prediction was at least {human(prediction.needed)}\n" + account(prediction)
    )


def account(prediction: Prediction) -> str:
    """What a step's memory is made of, and the largest causes, on two lines."""
    parts = {
        "parameters": prediction.parameters,
        "gradients": prediction.gradients,
        "buffers": prediction.buffers,
        "inputs": prediction.inputs,
        "alive after forward": prediction.alive_allocated,
    }
    sizes = ", ".join(f"{name} {human(nbytes)}" for name, nbytes in parts.items() if nbytes)
    causes = "; ".join(_causes(prediction.saved)) or "nothing is saved"
    return f"  {sizes}; temporaries come on top\n  the most is saved by: {causes}"


def _causes(saved: Sequence[Expected]) -> list[str]:
    by_line: Counter[tuple[str, str | None]] = Counter()
    for storage in saved:
        by_line[storage.op, storage.where] += storage.nbytes
    largest = by_line.most_common(_CAUSES)
    return [f"{op}{f' at {where}' if where else ''} {human(nbytes)}" for (op, where), nbytes in largest]


def named(point: Point) -> str:
    """``b=8 s=1024``."""
    return as_text(point) or "this model"
