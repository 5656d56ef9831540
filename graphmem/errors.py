"""Everything graphmem can complain about.

GraphmemError              exit code 2; what happened, where, how to fix it
|-- UsageError             the command line: an option or a value that does not exist
|-- TargetError            the file, module or factory cannot be found or loaded
|-- ModelError             the user's code raised: while loading, while building or in forward
|-- SymbolError            a symbol that is unknown, or a size that cannot be evaluated there
|   `-- NothingFitsError   no value of the symbol that is solved for is small enough
|-- MachineError           an unknown GPU, or a device that this torch cannot pretend to be
|-- DataDependentError     forward asks for the value of a tensor
|-- MissingKernelError     an operator that cannot run on fake tensors
|-- TorchError             the installed torch lacks something that graphmem needs
`-- MemoryLimitError       a real run that does not fit into the device's memory

TooLongError               not a complaint: a trace that was given a limit says that it stopped there
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from graphmem.escapes import one_line

# What a message quotes may be a file.
_LONGEST = 500


class GraphmemError(Exception):
    """An analysis that could not be done.

    Args:
        what: one sentence, without a full stop at the end; names in it may have any characters.
        where: ``file:line`` and, where known, the module's path.
        hint: what to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        what = one_line(what)
        self.what = what if len(what) <= _LONGEST else f"{what[:_LONGEST]} ..."
        super().__init__(self.what)
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  at   {self.where}")
        if self.hint:
            first, *rest = self.hint.splitlines()
            lines.append(f"  fix  {first}")
            lines += [f"       {line}" for line in rest]
        return "\n".join(lines)


class UsageError(GraphmemError):
    """An option or a value on the command line that does not exist."""


class TargetError(GraphmemError):
    """The file, module or factory cannot be found or is not what it should be."""


class ModelError(GraphmemError):
    """The user's code raised."""


class SymbolError(GraphmemError):
    """A symbol that is unknown, or a size that has no formula in it."""


class NothingFitsError(SymbolError):
    """No value of a symbol is small enough. least: the smallest that there is a formula for, if there is one."""

    def __init__(self, what: str, *, least: int | None, hint: str) -> None:
        super().__init__(what, hint=hint)
        self.least = least


class MachineError(GraphmemError):
    """An unknown GPU, or one that this build of torch cannot stand in for."""


class DataDependentError(GraphmemError):
    """Forward asks for the value of a tensor, and fake tensors have none."""


class MissingKernelError(GraphmemError):
    """An operator without a fake (meta) kernel."""


class TorchError(GraphmemError):
    """The installed torch lacks a private name that graphmem needs: `graphmem._torch` has them all."""


class MemoryLimitError(GraphmemError):
    """A real run that would not fit into the device's memory, or did not."""


class TooLongError(Exception):
    """A trace reached the number of operators that it was limited to.

    Only who sets a limit gets this error, and expects it: it steers the search for a point that is quick to trace, and
    never reaches the user. So it is not a GraphmemError, and `except GraphmemError` lets it pass.
    """


def closest(name: str, known: Iterable[str]) -> str:
    """``did you mean h100? ``, with a space at the end; "" if no known name is close to `name`."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}? " if close else ""


def did_you_mean(name: str, known: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """A hint for an unknown name: the closest known one, and all of them.

    Args:
        listed: the known names as the hint writes them; default: as they are.
    """
    names = list(known)
    return f"{closest(name, names)}known: {', '.join(names if listed is None else listed) or 'none'}"
