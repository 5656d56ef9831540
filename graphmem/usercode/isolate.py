"""Leave the process as it was: whatever a model file or a factory sets globally is put back.

A setting that the user's file makes holds during the analysis, since training would see it too.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

from graphmem.stand_ins import stand_ins
from graphmem.usercode.interrupts import held_back
from graphmem.usercode.randomness import kept_random
from graphmem.usercode.settings import kept_settings
from graphmem.usercode.surroundings import apart_from_modes

# Settings, standard output and what a package is imported as are the whole process's: analyses take turns.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def isolated(
    notes: list[str] | None = None, *, keep_stdout_clean: bool = False, standing_in: bool = True
) -> Iterator[None]:
    """Run the block, then put back settings, random state, sys.path, environment and warning filters.

    Within it attention packages that are not installed can be imported (`graphmem.stand_ins`).

    Args:
        notes: gets a sentence for each setting and environment variable that the user's code changed.
        keep_stdout_clean: all that the block prints goes to stderr, also from C code and child processes.
        standing_in: False for a real run, in which a stand-in has nothing to compute with.
    """
    with _ONE_AT_A_TIME, held_back(), _outermost(), _put_back_after(notes, keep_stdout_clean, standing_in):
        yield


_thread = threading.local()


@contextmanager
def _outermost() -> Iterator[None]:
    """The surroundings of an analysis within another are that one's."""
    if getattr(_thread, "inside", False):
        yield
        return
    with apart_from_modes():
        _thread.inside = True
        try:
            yield
        finally:
            _thread.inside = False


@contextmanager
def _put_back_after(notes: list[str] | None, keep_stdout_clean: bool, standing_in: bool) -> Iterator[None]:
    clean = _stdout_to_stderr() if keep_stdout_clean else nullcontext()
    standing = stand_ins() if standing_in else nullcontext()
    with kept_settings(notes), kept_random(), warnings.catch_warnings(), clean, standing:
        warnings.simplefilter("ignore")  # the model is built and run at sizes that its author never meant
        yield


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Python's stdout and the process's file descriptor 1."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError):  # no such descriptor here
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
