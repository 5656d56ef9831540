"""Files and standard output that a command writes: all of the content, or none of it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path

from graphmem.errors import UsageError

_OUTPUT = "{} takes a file in an existing folder that can be written"


def check_output(file: str | None, option: str = "-o") -> None:
    """Refuse a file that cannot be written before any work is done for it."""
    if file is None:
        return
    path = Path(file)
    if not path.name or path.is_dir():
        raise UsageError(f"cannot write {file!r}: it is a folder", hint=_OUTPUT.format(option))
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {file}: there is no folder {path.parent}", hint=_OUTPUT.format(option))


def write(content: str | bytes, file: str | None, option: str = "-o") -> None:
    """Write `content` to `file`, which is replaced as a whole; to stdout if there is no file.

    Raises:
        UsageError: it cannot be written; or it is bytes, and stdout is a terminal.
    """
    if file is None:
        show(content)
        return
    content = content.encode() if isinstance(content, str) else content
    path = Path(os.path.realpath(file))  # a link stays a link
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_bytes(content)
        else:
            _replace(path, content)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint=_OUTPUT.format(option)) from error


def _replace(path: Path, content: bytes) -> None:
    """As a whole, or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        if path.exists():
            shutil.copymode(path, partial)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def show(content: str | bytes) -> None:
    """Print text, with ? for what the terminal cannot show, or bytes if stdout is not a terminal."""
    if isinstance(content, bytes) and sys.stdout.isatty():
        raise UsageError("this format is not text for a terminal", hint="write it to a file with -o FILE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ² shows ?
    try:
        if isinstance(content, bytes):
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What could not be written must not be tried again when the interpreter closes stdout.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(f"cannot write to stdout: {error.strerror}", hint="free some space, or -o FILE") from error
