"""`Frames`: which lines of the user's are under way."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import torch.utils.checkpoint

from graphmem._torch import COMPILED_FRAME
from graphmem.record import Place
from graphmem.usercode.paths import OURS, beginning

F = TypeVar("F", bound=Callable[..., object])

# What stands for a line where none of the user's is under way.
NOWHERE = Place("", 0, "")
_NOT_THE_USERS = (beginning(Path(torch.__file__).parent), OURS)
_USERS, _FOREIGN, _COMPILED, _FLEX, _OUTERMOST = range(5)
_outermost: list[types.CodeType] = []


def outermost(function: F) -> F:
    """Mark the function that calls the user's forward: every frame outside its own is graphmem's caller, which is not
    part of the model."""
    _outermost.append(function.__code__)
    return function


class Frames:
    """Looks at the stack. One object serves one trace: what it remembers of code goes away with it."""

    def __init__(self) -> None:
        # By identity: code compares and hashes by all that is in it but its file. The entry keeps the code alive, so
        # that its id is not used again.
        self._known: dict[int, tuple[int, types.CodeType]] = {}
        self._lines: dict[tuple[int, int], Place] = {}

    def users(self) -> tuple[tuple[Place, ...], bool]:
        """The user's lines under way, innermost first, and whether torch.compile wraps one of the callers. Its wrapper
        around flex_attention does not count: that kernel is known."""
        places, compiled, in_flex, known = [], False, False, self._known
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None:  # some thirty of them, for every operator
            code = frame.f_code
            whose, _ = known.get(id(code)) or self._learn(code)
            if whose == _USERS:
                places.append(self._place(frame))
            elif whose != _FOREIGN:
                if whose == _OUTERMOST:
                    break
                in_flex |= whose == _FLEX
                compiled |= whose == _COMPILED and not in_flex
            frame = frame.f_back
        return tuple(places), compiled

    def innermost(self) -> Place | None:
        """The user's line under way; None where there is none."""
        return next(iter(self.users()[0]), None)

    def checkpoint(self) -> Place | None:
        """The user's line that called torch.utils.checkpoint, if the checkpoint itself packs a tensor: its own input.
        Then it is one of the two innermost callers that are not graphmem's."""
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith(OURS):
            frame = frame.f_back
        for _ in range(2):
            if frame is None:
                return None
            if frame.f_code.co_filename == torch.utils.checkpoint.__file__:
                return self.innermost() or NOWHERE
            frame = frame.f_back
        return None

    def _learn(self, code: types.CodeType) -> tuple[int, types.CodeType]:
        known = self._known[id(code)] = _whose(code), code
        return known

    def _place(self, frame: types.FrameType) -> Place:
        """One object for each line, however often it runs."""
        line = id(frame.f_code), frame.f_lineno
        place = self._lines.get(line)
        if place is None:
            code = frame.f_code
            place = self._lines[line] = Place(code.co_filename, frame.f_lineno, code.co_name)
        return place


def _whose(code: types.CodeType) -> int:
    if any(code is marked for marked in _outermost):
        return _OUTERMOST
    if code.co_qualname.startswith(COMPILED_FRAME):
        return _COMPILED
    if code.co_filename.endswith("flex_attention.py") and code.co_filename.startswith(_NOT_THE_USERS):
        return _FLEX
    foreign = code.co_filename.startswith(_NOT_THE_USERS) or code.co_filename[:1] == "<"
    return _FOREIGN if foreign else _USERS
