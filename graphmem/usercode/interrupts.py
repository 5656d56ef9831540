"""Ctrl-C: at once where the user's code runs, and else once nothing is half put back.

Python raises KeyboardInterrupt between any two steps, also within a `finally` that puts something back. While an
analysis is under way, it comes only

- in the user's code: in a constructor or a file anywhere; in forward, which runs under torch's modes, in the user's own
  lines, or before the next function of torch;
- between two steps of the analysis: before the next piece of the user's code, and at the end.

It waits wherever a block is being entered or left, and where an object is freed: Python prints what comes there, and
goes on. Once the answer is being written, the command ends as if it had not come. A second Ctrl-C comes at once.
Somebody's own handler of SIGINT stays as it is.
"""

from __future__ import annotations

import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from graphmem.usercode.paths import is_users


class _Held:
    """The handler. within: in the user's code; "forward" where only the user's own lines may be interrupted. late: the
    answer is being written."""

    def __init__(self) -> None:
        self.waiting, self.within, self.late = False, "", False

    def __call__(self, _number: int, frame: FrameType | None) -> None:
        own = self.within == "forward" and frame is not None and is_users(frame.f_code.co_filename)
        anywhere = self.within == "anywhere" and not _is_half_done(frame)
        if self.waiting or ((anywhere or own) and not self.late):
            self.waiting = False
            raise KeyboardInterrupt
        self.waiting = True

    def come(self) -> None:
        if self.waiting and not self.late:
            self.waiting = False
            raise KeyboardInterrupt


def _is_half_done(frame: FrameType | None) -> bool:
    """Whether a block is being entered or left, or an object freed. torch takes a mode off its stack while that runs,
    and does not put it back if Ctrl-C comes in between."""
    frames = list(_outwards(frame))
    names = [(one.f_code.co_name, one.f_globals.get("__name__")) for one in frames[:_NEAR]]
    blocks = any(
        name in ("__enter__", "__exit__") or module in ("contextlib", "torch.overrides") for name, module in names
    )
    return blocks or any(map(frees, frames))


def frees(frame: FrameType) -> bool:
    """Whether it runs because an object is freed: a destructor, or what a weak reference calls with itself. Python
    prints what is raised there, and goes on."""
    code = frame.f_code
    given = (frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount])
    return code.co_name == "__del__" or any(isinstance(one, weakref.ref) and one() is None for one in given)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


_NEAR = 3  # so many frames from where it comes: a block that takes long to enter does something deeper
# Of the main thread, which gets all signals.
_held: list[_Held] = []


def _of_this_thread() -> _Held | None:
    return _held[-1] if _held and threading.current_thread() is threading.main_thread() else None


@contextmanager
def held_back() -> Iterator[None]:
    """Within the block Ctrl-C comes only where it does no harm; and after it, at the latest."""
    outer = _of_this_thread()
    if outer is not None:
        before, outer.within = (outer.within, outer.late), ""
        try:
            yield
        finally:
            outer.within, outer.late = before
        return
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    held = _Held()
    _held.append(held)
    signal.signal(signal.SIGINT, held)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is held:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _held.remove(held)
        held.come()


@contextmanager
def may_come(*, forward: bool = False) -> Iterator[None]:
    """The block is the user's code. forward: under modes of torch's."""
    held = _of_this_thread()
    if held is None:
        yield
        return
    held.come()
    before, held.within = held.within, "forward" if forward else "anywhere"
    try:
        yield
    finally:
        held.within = before
    if not forward:
        held.come()


def too_late() -> None:
    """From here to the end of the `held_back` block it does not come: the answer is being written, as a whole. A second
    one still does."""
    held = _of_this_thread()
    if held is not None:
        held.late = True


def come() -> None:
    """Here it may come if the user's code is running: nothing is half done. What puts things back calls torch, too."""
    held = _of_this_thread()
    if held is not None and held.within:
        held.come()
