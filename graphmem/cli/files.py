"""Files and standard output that a command writes: all of the content, or none of it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
import tempfile
from pathlib import Path

from graphmem.errors import UsageError
from graphmem.escapes import safe_text
from graphmem.usercode.interrupts import too_late

_OUTPUT = "{} takes a file in an existing folder that can be written"
_DESCRIPTORS = ("/dev/std", "/dev/fd/", "/proc/self/fd/")


def check_output(file: str | None, option: str = "-o") -> None:
    """Refuse a file that cannot be written before any work is done for it, and a working directory that is gone."""
    _check_folder()
    if file is None:
        return
    path, hint = Path(file), _OUTPUT.format(option)
    if not path.name or os.path.isdir(file):
        raise UsageError(f"cannot write {file!r}: it is a folder", hint=hint)
    if not os.path.isdir(path.parent):  # also where the name is too long for one
        raise UsageError(f"cannot write {file}: there is no folder {path.parent}", hint=hint)


def _check_folder() -> None:
    """Relative paths start there, and what a target imports may stand there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError("the working directory was removed", hint="run graphmem from another folder") from None


def refuse_elsewhere(file: str) -> None:
    """Refuse to write a file that the command line does not name where a repository's link or setting leads elsewhere.

    Raises:
        UsageError: it is not below the working directory.
    """
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(".")):
        raise UsageError(
            f"{file} is written below the working directory, and leads to {os.path.realpath(file)}",
            hint="--baseline FILE writes it anywhere",
        )


def write(content: str | bytes, file: str | None, option: str = "-o", *, commands: bool = False) -> None:
    """Write `content` to `file`, which is replaced as a whole; to stdout if there is no file.

    Args:
        commands: the text is commands to GitHub's runner; in any other, a line that looks like one is made harmless.

    Raises:
        UsageError: it cannot be written; or it is bytes, and stdout is a terminal.
    """
    content = safe_text(content, commands=commands) if isinstance(content, str) else content
    if file is None:
        show(content)
        return
    too_late()
    content = content.encode() if isinstance(content, str) else content
    try:
        if (os.path.exists(file) and not os.path.isfile(file)) or file.startswith(_DESCRIPTORS):
            _write_into(file, content, option)  # a device or a pipe is written to, not replaced
        else:
            _replace(Path(os.path.realpath(file)), content)  # a link stays a link
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write {file}: {problem}", hint=_OUTPUT.format(option)) from error


def _write_into(file: str, content: bytes, option: str) -> None:
    """To a pipe only if somebody reads it: else opening it would wait for ever."""
    is_pipe = os.path.exists(file) and stat.S_ISFIFO(os.stat(file).st_mode)
    try:
        descriptor = os.open(file, os.O_WRONLY | (os.O_NONBLOCK if is_pipe else os.O_TRUNC))
    except OSError as error:
        if is_pipe and error.errno == errno.ENXIO:
            hint = f"start what reads it first, or give {option} a file"
            raise UsageError(f"cannot write {file}: nobody reads from this pipe", hint=hint) from error
        raise
    if is_pipe:
        os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as stream:
        stream.write(content)


def _replace(path: Path, content: bytes) -> None:
    """As a whole, or not at all: by way of a new file that nobody else can have put there."""
    descriptor, partial = tempfile.mkstemp(prefix=".graphmem-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, _mode(path))
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced; of a new one those that any program would give it."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def show(content: str | bytes) -> None:
    """Print text, with ? for what the terminal cannot show, or bytes if stdout is not a terminal."""
    if isinstance(content, bytes) and sys.stdout.isatty():
        raise UsageError("this format is not text for a terminal", hint="write it to a file with -o FILE")
    too_late()
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
