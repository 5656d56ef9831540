"""Running code that the user wrote: what it raises becomes one error with the user's own file and line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from graphmem.errors import GraphmemError, ModelError
from graphmem.escapes import said
from graphmem.usercode.callables import code_of
from graphmem.usercode.paths import OURS, shown
from graphmem.usercode.turn import users_turn


@contextmanager
def user_code(function: Callable[..., Any], what: str) -> Iterator[None]:
    """Turn an exception that the block raises into a ModelError: `what` raised it, at that line of the user's file."""
    code = code_of(function)
    try:
        with users_turn():
            yield
    except (GraphmemError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise raised(error, what, code.co_filename if code else None) from error


def raised(error: BaseException, what: str, file: str | None) -> ModelError:
    """The ModelError for an exception that the user's code raised, at the innermost line of `file` on the stack."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((OURS, "<"))]
    own = [f for f in frames if f.filename == file] or frames
    where = f"{shown(own[-1].filename)}:{own[-1].lineno}    {own[-1].line}" if own else file
    text = said(error).strip().split("\n")[0]
    return ModelError(f"{what} raised {type(error).__name__}: {text}", where=where, hint=_hint(error))


_ONLY_SHAPES = "the file is executed, but only the model's shapes matter"


def _hint(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "remove sys.exit(), or put it under if __name__ == '__main__':"
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return f"install {package} where graphmem is installed, or import it only where it is used"
    if isinstance(error, ImportError) and "relative import" in said(error):
        return "name it as part of its package, from the folder above: graphmem analyze package.module:Name"
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return f"{_ONLY_SHAPES}: put what reads data, loads weights or trains under if __name__ == '__main__':"
    return "see all of it with --traceback"
