"""Whose a file is, and how it is shown: relative to the working directory where it lies below it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType


def beginning(folder: str | Path) -> str:
    """What the names of all files in `folder` begin with. Without the separator torchvision would be in torch."""
    return os.path.join(folder, "")


OURS = beginning(Path(__file__).parent.parent)
_OF_NO_USER = (beginning(sys.prefix), beginning(sys.base_prefix), OURS, "<")
_START = Path.cwd()


def is_users(file: str) -> bool:
    """Whether a file is neither ours nor of an installed package."""
    return bool(file) and not file.startswith(_OF_NO_USER)


def shown(file: str) -> str:
    """`file` as the user would type it. The directory at import counts: a model file may change the current one."""
    try:
        relative = os.path.relpath(file, _START)
    except ValueError:  # another drive
        return file
    return file if beginning(relative).startswith(beginning("..")) else relative


def file_of(module: ModuleType) -> str | None:
    """The file of a module; None for one that has none, such as sys."""
    return getattr(module, "__file__", None)


def no_file(path: str | Path) -> str | None:
    """Why there is no file to read at `path`, for a message; None where there is one. It may be any text."""
    if os.path.isfile(path):
        return None
    if os.path.isdir(path):
        return "is a directory"
    return "is not a regular file" if os.path.exists(path) else "does not exist"
