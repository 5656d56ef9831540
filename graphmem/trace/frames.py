"""Which lines of the user's are under way."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import torch

from graphmem.kernels.flex import COMPILED_FRAME
from graphmem.paths import OURS
from graphmem.trace.record import Place

_NOT_THE_USERS = (str(Path(torch.__file__).parent), OURS)
# Beyond the frame that called forward is whoever called graphmem.
_OUTERMOST = str(Path(__file__).with_name("forward.py"))
_USERS, _FOREIGN, _COMPILED, _FLEX = 0, 1, 2, 3
_known: dict[types.CodeType, int] = {}


def user_frames() -> tuple[tuple[Place, ...], bool]:
    """The user's lines under way, innermost first, and whether a wrapper of torch.compile's is among the callers: other
    than around flex_attention, whose kernel is known."""
    places, compiled, in_flex = [], False, False
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _OUTERMOST:
            break
        whose = _known.get(code)
        if whose is None:
            whose = _known[code] = _whose(code)
        if whose == _USERS:
            places.append(Place(code.co_filename, frame.f_lineno, code.co_name))
        in_flex |= whose == _FLEX
        compiled |= whose == _COMPILED and not in_flex
        frame = frame.f_back
    return tuple(places), compiled


def _whose(code: types.CodeType) -> int:
    if code.co_qualname.startswith(COMPILED_FRAME):
        return _COMPILED
    if code.co_filename.endswith("flex_attention.py") and code.co_filename.startswith(_NOT_THE_USERS):
        return _FLEX
    foreign = code.co_filename.startswith(_NOT_THE_USERS) or code.co_filename[:1] == "<"
    return _FOREIGN if foreign else _USERS
