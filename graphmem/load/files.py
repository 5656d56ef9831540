"""TARGET on the command line: ``model.py``, ``model.py:name``, ``package.module:name``, ``config.json``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from graphmem.errors import TargetError, UsageError
from graphmem.load.factories import from_factories
from graphmem.load.subject import Subject, at_home
from graphmem.usercode.home import home_of
from graphmem.usercode.paths import file_of, no_file, shown
from graphmem.usercode.running import raised
from graphmem.usercode.turn import users_turn

_KINDS = "TARGET is model.py, model.py:name, package.module:name or a Hugging Face config.json"
_CONVENTION = """write two functions whose parameters are the symbols and whose defaults are the working point:
def model(h=768, a=12, L=12): ...    # -> nn.Module
def inputs(b=8, s=1024): ...         # -> tuple or dict of tensors"""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user said beside TARGET.

    settings: NAME=VALUE pairs. inputs: texts such as "idx=int64[b,s]", for a config.json and for files that know
    nothing of graphmem. config: an expression such as "GPTConfig(n_layer=12)", for those files alone. task,
    trust_remote_code: for a config.json.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    config: str | None = None
    task: str | None = None
    trust_remote_code: bool = False


def load_target(target: str, wishes: Wishes | None = None) -> Subject:
    """Execute the file or import the module that `target` names and make a Subject of it.

    The file is executed: it can do whatever its author wrote. A file with the functions model() and inputs() says what
    its symbols are; in any other file graphmem looks for the model.

    Raises:
        TargetError: there is no such file or factory.
        ModelError: the file itself raised.
    """
    wishes = wishes or Wishes()
    if target.endswith(".json"):
        from graphmem.load.hf.subject import from_config_file

        if wishes.config:
            raise UsageError("--config is for Python files", hint="--set NAME=VALUE sets any field of a config.json")
        return from_config_file(
            target,
            settings=wishes.settings,
            task=wishes.task,
            trust_remote_code=wishes.trust_remote_code,
            inputs=wishes.inputs,
        )
    place, factory = _split(target)
    file = _is_file(place)
    home = home_of(str(Path(place).parent.resolve() if file else Path.cwd()))
    with home.entered():
        module = _run_file(Path(place)) if file else _import(place)
        return at_home(_subject_in(module, target, place, factory, wishes), home)


def _subject_in(module: ModuleType, target: str, place: str, factory: str | None, wishes: Wishes) -> Subject:
    """The Subject of a module that was executed."""
    if wishes.inputs or wishes.config or not _has_factories(module, factory):
        from graphmem.load.discover import from_plain

        return from_plain(
            module, factory, name=target, settings=wishes.settings, inputs=wishes.inputs, config=wishes.config
        )
    settings = wishes.settings
    model = _function(module, factory or "model", place)
    inputs = _function(module, "inputs", place)
    loss = _function(module, "loss", place) if hasattr(module, "loss") else None
    return from_factories(model, inputs, name=target, loss=loss, settings=settings)


def _has_factories(module: ModuleType, factory: str | None) -> bool:
    """Whether the file has model() and inputs(), or one of them: then an error says that the other is missing."""
    names = ["model", "inputs"] if factory is None else ["inputs"]
    return any(callable(f := getattr(module, n, None)) and not isinstance(f, (type, nn.Module)) for n in names)


def _split(target: str) -> tuple[str, str | None]:
    place, colon, factory = target.rpartition(":")
    if not colon or "/" in factory or "\\" in factory:
        return target, None
    return place, factory


def _is_file(place: str) -> bool:
    return (
        place.endswith(".py")
        or "/" in place
        or "\\" in place
        or (os.path.exists(place) and not os.path.exists(os.path.join(place, "__init__.py")))
    )


def _run_file(path: Path) -> ModuleType:
    if (problem := no_file(path)) is not None:
        raise TargetError(f"{path} {problem}", hint=_KINDS)
    name = f"_graphmem_target_{path.stem}"
    # Given as a string path so that tracebacks, and with them the report, show the path that the user typed.
    spec = importlib.util.spec_from_file_location(name, str(path))
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} is not a Python file", hint=_KINDS)
    _refuse_training(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with users_turn(), _no_arguments(path):
            spec.loader.exec_module(module)
    except SyntaxError as error:
        raise _syntax_error(error, path) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what pytest.skip() raises
        raise raised(error, str(path), file_of(module)) from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
    return module


@contextmanager
def _no_arguments(path: Path) -> Iterator[None]:
    """A parser in the file finds no arguments and takes its defaults."""
    argv, sys.argv = sys.argv, (own := [str(path)])
    try:
        yield
    finally:
        if sys.argv is own:
            sys.argv = argv


def _refuse_training(path: Path) -> None:
    """Refuse a file that trains when it is executed, before it does: that may take hours and write files."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # executing it says what is wrong
    except OSError as error:
        raise TargetError(f"cannot read {path}: {error.strerror}", hint=_KINDS) from error
    loops = [statement for statement in tree.body if isinstance(statement, (ast.For, ast.While))]
    for node in (node for loop in loops for node in ast.walk(loop)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward":
            raise TargetError(
                f"{path} trains as soon as it is executed",
                where=f"{shown(str(path))}:{node.lineno}    {ast.unparse(node)}",
                hint="put the training under if __name__ == '__main__': the file is executed to find its model",
            )


def _syntax_error(error: SyntaxError, path: Path) -> TargetError:
    file = shown(error.filename or str(path))
    if error.lineno is None:  # a null byte, say: nothing was parsed
        return TargetError(
            f"{file} is not Python source: {error.msg}", where=file, hint="save it as plain text in UTF-8"
        )
    line = f"{file}:{error.lineno}    {(error.text or '').strip()}"
    return TargetError(f"{file} has a syntax error: {error.msg}", where=line, hint="fix the line")


def _import(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"there is no file and no module {name}", hint=_KINDS)
    try:
        with users_turn():
            sys.path.insert(0, "")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.split(".")[0] == error.name.split(".")[0]:
            raise TargetError(
                f"there is no file and no module {name}",
                hint=_KINDS,
            ) from error
        raise raised(error, name, None) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise raised(error, name, None) from error


def _function(module: ModuleType, name: str, place: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if found is None:
        raise TargetError(f"{place} has no {name}()", where=shown(file_of(module) or place), hint=_CONVENTION)
    if not callable(found) or isinstance(found, (type, nn.Module)):
        hint = "def loss(output): return output.float().mean()" if name == "loss" else _CONVENTION
        raise TargetError(f"{name} in {place} is not a function", where=shown(file_of(module) or place), hint=hint)
    return found  # type: ignore[no-any-return]
