"""JSON that somebody saved: reports, baselines, a model's config. Whatever is in the file, it is read or refused."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import time
from pathlib import Path
from typing import Any, NoReturn

# A report of a model with thousands of kinds of tensors has a few MiB.
LIMIT = 2**27
# No size in bytes, and no size of a model, is larger.
LARGEST = 2**63
# Whoever writes into a named pipe opens it sooner.
_SECONDS = 30.0


def read_text(path: str | os.PathLike[str], limit: int = LIMIT) -> str:
    """A text file in UTF-8, read once and never further than `limit` bytes: it may be a pipe, or a device without end.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or not UTF-8.
    """
    content = _from_pipe(path, limit + 1) if stat.S_ISFIFO(os.stat(path).st_mode) else _from_file(path, limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is larger than {limit // 2**20} MiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error


def _from_file(path: str | os.PathLike[str], most: int) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(most)


def _from_pipe(path: str | os.PathLike[str], most: int) -> bytes:
    """Once somebody has opened the pipe to write: to open it in the usual way waits for that without end."""
    last = time.monotonic() + _SECONDS
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        while (first := pipe.read(1)) == b"":  # None where somebody has opened it, and has written nothing yet
            if time.monotonic() > last:
                raise OSError(errno.ETIMEDOUT, f"it is a pipe, and for {_SECONDS:.0f} s nobody wrote into it")
            time.sleep(0.02)
        os.set_blocking(pipe.fileno(), True)
        with io.BufferedReader(pipe) as file:
            return (first or b"") + file.read(most - len(first or b""))


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        json.JSONDecodeError: it is no JSON.
        ValueError: it is, and is nested too deeply or has numbers that no machine has.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise ValueError("it has a number with too many digits" if "digits" in str(error) else str(error)) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant} in it")


def is_size(value: object) -> bool:
    """Whether a value is a number of bytes, or another size."""
    return type(value) is int and 0 <= value < LARGEST


def is_readable_twice(path: str | os.PathLike[str]) -> bool:
    """Whether a file can be read again: a pipe cannot."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
