"""Which lines of the user's are under way."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import torch
import torch.utils.checkpoint

from graphmem.kernels.flex import COMPILED_FRAME
from graphmem.record import Place
from graphmem.usercode.paths import OURS

_NOT_THE_USERS = (str(Path(torch.__file__).parent), OURS)
# Beyond the frame that called forward is whoever called graphmem.
_OUTERMOST = str(Path(__file__).with_name("forward.py"))
_USERS, _FOREIGN, _COMPILED, _FLEX = 0, 1, 2, 3
# By identity: code compares and hashes by all that is in it but its file. What gives a key is kept alive here.
_known: dict[int, tuple[int, types.CodeType]] = {}
_lines: dict[tuple[int, int], Place] = {}


def user_frames() -> tuple[tuple[Place, ...], bool]:
    """The user's lines under way, innermost first, and whether a wrapper of torch.compile's is among the callers: other
    than around flex_attention, whose kernel is known."""
    places, compiled, in_flex = [], False, False
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _OUTERMOST:
            break
        known = _known.get(id(code))
        if known is None:
            known = _known[id(code)] = _whose(code), code
        whose = known[0]
        if whose == _USERS:
            line = id(code), frame.f_lineno
            place = _lines.get(line)
            if place is None:
                place = _lines[line] = Place(code.co_filename, frame.f_lineno, code.co_name)
            places.append(place)
        in_flex |= whose == _FLEX
        compiled |= whose == _COMPILED and not in_flex
        frame = frame.f_back
    return tuple(places), compiled


def checkpoint_under_way() -> Place | None:
    """The user's line that called torch.utils.checkpoint, where that is who packs a tensor: an input of its own."""
    frame: types.FrameType | None = sys._getframe(2)
    for _ in range(2):
        if frame is None:
            return None
        if frame.f_code.co_filename == torch.utils.checkpoint.__file__:
            return next(iter(user_frames()[0]), Place("", 0, ""))
        frame = frame.f_back
    return None


def _whose(code: types.CodeType) -> int:
    if code.co_qualname.startswith(COMPILED_FRAME):
        return _COMPILED
    if code.co_filename.endswith("flex_attention.py") and code.co_filename.startswith(_NOT_THE_USERS):
        return _FLEX
    foreign = code.co_filename.startswith(_NOT_THE_USERS) or code.co_filename[:1] == "<"
    return _FOREIGN if foreign else _USERS
