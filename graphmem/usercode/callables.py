"""What to call a user's function in a message, and where it stands: plain functions, partials, callable objects."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any

from graphmem.usercode.paths import shown


def name_of(function: Callable[..., Any]) -> str:
    """What to call a function in a message; a functools.partial goes by what it wraps."""
    function = getattr(function, "func", function)
    return getattr(function, "__name__", None) or type(function).__name__


def code_of(function: Callable[..., Any]) -> CodeType | None:
    """The code behind a function, a partial or a callable object."""
    function = getattr(function, "func", function)
    found = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return found if isinstance(found, CodeType) else None


def defined_at(function: Callable[..., Any]) -> str | None:
    """file:line of a function."""
    code = code_of(function)
    return f"{shown(code.co_filename)}:{code.co_firstlineno}" if code else None
