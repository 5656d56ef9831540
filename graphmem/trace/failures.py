"""From an exception in forward to an error that says what, where and how to fix it."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from graphmem._torch import DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException
from graphmem.errors import DataDependentError, GraphmemError, MissingKernelError, ModelError, TooLongError
from graphmem.escapes import said
from graphmem.usercode.paths import OURS, beginning, shown

_TORCH = beginning(Path(torch.__file__).parent)


@contextmanager
def explained(
    what: str, place: Callable[[], str], fitting: str, left: Callable[[], list[str]] = list
) -> Iterator[None]:
    """Turn what the user's code raises in the block into a graphmem error. TooLongError passes: it is not the user's.

    Args:
        what: "forward" or "loss()". place: the path of the module under way. fitting: what its arguments must fit.
        left: the names of tensors that Module.to() leaves on the CPU.
    """
    try:
        yield
    except (TooLongError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _explain(error, what, place(), _moving(error, left), fitting) from error


def _explain(error: BaseException, what: str, module_path: str, moving: str, fitting: str) -> GraphmemError:
    where = _where(error, module_path)
    if isinstance(error, GraphmemError):
        error.where = error.where or where
        return error
    op = _unsupported_op(error)
    asks = isinstance(error, (DataDependentOutputException, DynamicOutputShapeException))
    if asks or "data-dependent" in said(error).lower():
        return DataDependentError(
            f"{what} asks for the value of a tensor, and {getattr(error, 'graphmem_reason', 'there are none here')}",
            where=where,
            hint=f"say what it is: --assume {_line(where)}=VALUE; or decide from sizes or from a Python value\n"
            "instead: torch.where in place of if, a plain int or bool in place of .item()",
        )
    if op is not None:
        return MissingKernelError(
            f"{op} has no fake kernel: its output's shape is unknown without running it",
            where=where,
            hint=f"register one in the model's file, giving an empty output of the right shape and dtype:\n"
            f'@torch.library.register_fake("{op}")\n'
            f"def _(x, ...): return torch.empty_like(x)",
        )
    message = said(error).strip()
    return ModelError(
        f"{what} raised {type(error).__name__}: {message.splitlines()[0] if message else ''}",
        where=where,
        hint=moving or _hint(error, fitting),
    )


def _moving(error: BaseException, left: Callable[[], list[str]]) -> str:
    """What to do where tensors are on two devices, and some were left on the CPU."""
    if "same device" not in said(error) or not (names_left := left()):
        return ""
    *first, last = names_left
    names = f"{', '.join(first)} and {last} are plain tensors" if first else f"{last} is a plain tensor"
    name = last.rpartition(".")[2]
    return f"{names} on the CPU, which Module.to() does not move: self.register_buffer({name!r}, ..., persistent=False)"


def _line(where: str | None) -> str:
    """The `model.py:88` in a place."""
    found = re.match(r"(\S+?:\d+)", where or "")
    return found[1].rpartition("/")[2] if found else "model.py:88"


def _hint(error: BaseException, fitting: str) -> str:
    if isinstance(error, SystemExit):
        return "remove sys.exit()"
    known: str | None = getattr(error, "graphmem_hint", None)
    if known is not None:
        return known
    if isinstance(error, (TypeError, RuntimeError, IndexError, AssertionError)):  # what misfitting sizes raise
        return f"{fitting}, and sizes must fit inside it; --traceback shows all of it"
    return "see all of it with --traceback"


def _unsupported_op(error: BaseException) -> str | None:
    """``mylib::op`` where the error says that an operator cannot run on fake tensors."""
    if isinstance(error, (UnsupportedOperatorException, DataDependentOutputException)):
        return str(error.func).rsplit(".", 1)[0].replace(".", "::", 1)
    text = said(error)
    if not isinstance(error, (NotImplementedError, RuntimeError)) or "::" not in text:
        return None
    if not re.search(r"no fake impl|fake kernel|register_fake|Meta' backend|'Meta'|meta tensors", text):
        return None
    found = re.search(r"\b([a-zA-Z_]\w*::\w+)", text)
    return found.group(1) if found else None


def _where(error: BaseException, module_path: str) -> str | None:
    """The innermost line that is neither torch's nor ours; the exception's own cause first."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((OURS, _TORCH, "<"))
    ]
    parts = []
    if frames:
        line = f"    {frames[-1].line}" if frames[-1].line else ""
        parts.append(f"{shown(frames[-1].filename)}:{frames[-1].lineno}{line}")
    if module_path:
        parts.append(f"in module {module_path}")
    return ", ".join(parts) or None


def signature(module: nn.Module) -> str:
    """`Net.forward(self, ids)`, for a message."""
    try:
        return f"{type(module).__name__}.forward{inspect.signature(module.forward)}"
    except (TypeError, ValueError):
        return f"{type(module).__name__}.forward(...)"
