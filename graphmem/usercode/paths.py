"""Whose a file is, and how it is shown: relative to the working directory where it lies below it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

OURS = str(Path(__file__).parent.parent)  # graphmem's own files begin with this
_START = Path.cwd()


def is_users(file: str) -> bool:
    """Whether a file is neither ours nor of an installed package."""
    return bool(file) and not file.startswith((sys.prefix, sys.base_prefix, OURS, "<"))


def shown(file: str) -> str:
    """`file` as the user would type it. The directory at import counts: a model file may change the current one."""
    try:
        relative = os.path.relpath(file, _START)
    except ValueError:  # another drive
        return file
    return file if relative.startswith("..") else relative
