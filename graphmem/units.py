"""Bytes and how people read them. 1 MiB is 2**20 bytes; there are no decimal megabytes here."""

from __future__ import annotations

# The CUDA caching allocator hands out multiples of this: kMinBlockSize in
# https://github.com/pytorch/pytorch/blob/v2.11.0/c10/core/AllocatorConfig.h#L18
ALLOCATION_BLOCK = 512

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def allocated(nbytes: int) -> int:
    """Bytes that the CUDA caching allocator sets aside for a storage of `nbytes`."""
    return -(-nbytes // ALLOCATION_BLOCK) * ALLOCATION_BLOCK


def unit_for(nbytes: int) -> tuple[str, int]:
    """The largest unit in which `nbytes` is at least 1, as (name, bytes in it)."""
    return next(((name, size) for name, size in _UNITS if nbytes >= size), ("B", 1))


def human(nbytes: int) -> str:
    """`nbytes` for a reader: ``1.53 GiB``, ``512 B``."""
    name, size = unit_for(abs(nbytes))
    return f"{nbytes} B" if size == 1 else f"{nbytes / size:.2f} {name}"
