"""From an exception in forward to an error that says what, where and how to fix it."""

from __future__ import annotations

import inspect
import re
import traceback
from pathlib import Path

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)

from graphmem.errors import DataDependentError, GraphmemError, MissingKernelError, ModelError
from graphmem.paths import shown

_OURS = str(Path(__file__).parents[1])
_TORCH = str(Path(torch.__file__).parent)


def explain(error: Exception, module: nn.Module, module_path: str) -> GraphmemError:
    """The graphmem error for what forward raised in `module_path`."""
    where = _where(error, module_path)
    if isinstance(error, GraphmemError):
        error.where = error.where or where
        return error
    op = _unsupported_op(error)
    if (
        isinstance(error, (DataDependentOutputException, DynamicOutputShapeException))
        or "data-dependent" in str(error).lower()
    ):
        return DataDependentError(
            f"forward asks for the value of a tensor, and {getattr(error, 'graphmem_reason', 'there are none here')}",
            where=where,
            hint="decide from sizes or from a Python value instead: torch.where in place of if, a plain int or bool\n"
            "in place of .item(); torch.compile and CUDA graphs ask for the same",
        )
    if op is not None:
        return MissingKernelError(
            f"{op} has no fake kernel: its output's shape is unknown without running it",
            where=where,
            hint=f"register one in the model's file, giving an empty output of the right shape and dtype:\n"
            f'@torch.library.register_fake("{op}")\n'
            f"def _(x, ...): return torch.empty_like(x)",
        )
    return ModelError(
        f"forward raised {type(error).__name__}: {_first_line(error)}",
        where=where,
        hint=f"inputs must fit {type(module).__name__}.forward{_signature(module)}",
    )


def _unsupported_op(error: Exception) -> str | None:
    """``mylib::op`` where the error says that an operator cannot run on fake tensors."""
    if isinstance(error, (UnsupportedOperatorException, DataDependentOutputException)):
        return str(error.func).rsplit(".", 1)[0].replace(".", "::", 1)
    text = str(error)
    if not isinstance(error, (NotImplementedError, RuntimeError)) or "::" not in text:
        return None
    if not re.search(r"no fake impl|fake kernel|register_fake|Meta' backend|'Meta'|meta tensors", text):
        return None
    found = re.search(r"\b([a-zA-Z_]\w*::\w+)", text)
    return found.group(1) if found else None


def _where(error: Exception, module_path: str) -> str | None:
    """The innermost line that is neither torch's nor ours; the exception's own cause first."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, _TORCH, "<"))
    ]
    parts = []
    if frames:
        line = f"    {frames[-1].line}" if frames[-1].line else ""
        parts.append(f"{shown(frames[-1].filename)}:{frames[-1].lineno}{line}")
    if module_path:
        parts.append(f"in module {module_path}")
    return ", ".join(parts) or None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _signature(module: nn.Module) -> str:
    try:
        return str(inspect.signature(module.forward))
    except (TypeError, ValueError):
        return "(...)"
