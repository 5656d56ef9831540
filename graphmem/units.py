"""Bytes and how people read them. 1 MiB is 2**20 bytes; there are no decimal megabytes here."""

from __future__ import annotations

import re

from graphmem.errors import UsageError

# The CUDA caching allocator hands out multiples of this: kMinBlockSize in
# https://github.com/pytorch/pytorch/blob/v2.11.0/c10/core/AllocatorConfig.h#L18
ALLOCATION_BLOCK = 512

_MOST = 2**63
_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


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


def parse_bytes(text: str) -> int:
    """``40GiB``, ``512 MiB``, ``80G``, ``1024`` in bytes. GB and G are read as GiB, as vendors mean them.

    Raises:
        ValueError: what it cannot read.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text[:60]!r} is not a number of bytes: write it like 40GiB")
    nbytes = float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")
    if nbytes >= _MOST:
        raise ValueError("no machine has as many bytes")
    return int(nbytes)


def read_size(size: str | float, option: str) -> int:
    """The bytes that the user gave for `option`: as a number, or as a text that `parse_bytes` reads.

    Args:
        option: as the user writes it: ``--memory`` on the command line, ``budget`` in Python.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if isinstance(size, str):
            return parse_bytes(size)
        if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 <= size < _MOST:
            raise ValueError(f"{_shown(size)} is not a number of bytes")
        return int(size)
    except ValueError as error:
        example = f"{option} 40GiB" if option.startswith("--") else f'{option}="40GiB"'
        raise UsageError(f"cannot read {option}: {error}", hint=example) from None


def _shown(value: object) -> str:
    """A value for a message; Python does not write integers of thousands of digits."""
    try:
        return repr(value)
    except ValueError:
        return "that many digits"


def read_count(text: str) -> int | None:
    """A whole number in decimal digits; None for any other text, and for numbers that no size is."""
    found = re.fullmatch(r"\s*[0-9]{1,18}\s*", text)
    return None if found is None else int(text)
