"""What the CUDA caching allocator says: bytes asked for, bytes set aside, and blocks that it handed out whole.

A request of up to 1 MiB gets a block of its size, rounded up to 512. A larger one takes the smallest free block that
is large enough, and the block is split only where more than 1 MiB would be left (`should_split` in
https://github.com/pytorch/pytorch/blob/v2.11.0/c10/cuda/CUDACachingAllocator.cpp). What is left in a block that was not
split counts as allocated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from graphmem._torch import clear_cublas_workspaces
from graphmem.units import allocated
from graphmem.validation.predict import UNSPLIT


@dataclass(frozen=True)
class Counters:
    """Bytes in use. requested: as asked for; allocated: as set aside; unsplit: the part of it that is the rest of
    blocks handed out whole, by the rule above. Differences of two readings say what happened between them."""

    requested: int
    allocated: int
    unsplit: int

    def __sub__(self, other: Counters) -> Counters:
        return Counters(
            self.requested - other.requested, self.allocated - other.allocated, self.unsplit - other.unsplit
        )


def counters(device: str) -> Counters | None:
    """What the allocator says now; None on the CPU and under an allocator that is not PyTorch's own."""
    if device != "cuda" or torch.cuda.get_allocator_backend() != "native":
        return None
    torch.cuda.synchronize()
    stats = torch.cuda.memory_stats()
    here = torch.cuda.current_device()
    segments = (s for s in torch.cuda.memory_snapshot() if s["device"] == here)
    return Counters(stats["requested_bytes.all.current"], stats["allocated_bytes.all.current"], unsplit_bytes(segments))


def unsplit_bytes(segments: Iterable[Mapping[str, Any]]) -> int:
    """What is left over in blocks that were handed out whole, of a `torch.cuda.memory_snapshot()`."""
    total = 0
    for segment in segments:
        for block in segment["blocks"]:
            if block["state"] != "inactive":
                rounded = allocated(block["requested_size"])
                rest = block["size"] - rounded
                total += rest if rounded > UNSPLIT and 0 < rest <= UNSPLIT else 0
    return total


def reset_peak(device: str) -> None:
    """Start a new peak now."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> int | None:
    """`torch.cuda.max_memory_allocated()` since then, in bytes."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


def release(device: str) -> None:
    """Give cached memory and cuBLAS's workspaces back: they are made again when they are needed."""
    if device == "cuda":
        with suppress(RuntimeError):  # after an assertion on the GPU nothing works there: that error should be seen
            if clear_cublas_workspaces is not None:
                clear_cublas_workspaces()
            torch.cuda.empty_cache()
