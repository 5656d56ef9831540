"""`[tool.graphmem]` in pyproject.toml: the options of `graphmem lint` that the command line does not give.

A key is the name of an option, and `targets` are the arguments: the table follows from the options of the command.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphmem.cli.options import actions_of
from graphmem.errors import UsageError, did_you_mean
from graphmem.saved_json import read_text

_TEXTS, _TABLE, _FLAG, _NUMBER, _TEXT = "a list of strings", "a table", "true or false", "an integer", "a string"
_EXAMPLES = {_TEXTS: '["...", "..."]', _TABLE: "{ s = 4096 }", _FLAG: "true", _NUMBER: "1", _TEXT: '"..."'}
# These belong to one run, not to a project; and to run code that lies beside a config.json, whoever wrote that, is
# for the user to allow, not for the repository that is looked at.
_COMMAND_LINE_ONLY = {"help", "output", "traceback", "pyproject", "write-baseline", "trust-remote-code"}
# The NAME=VALUE pairs of these options are a table in TOML.
_TABLES = {"set", "assume"}


def with_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options of the command line, and what pyproject.toml says for those that are not given.

    Raises:
        UsageError: no target at all, or a value that no option takes.
    """
    actions = _settable()
    merged = dict(options)
    path = Path(given) if (given := options.get("pyproject")) else _nearest()
    table = {} if path is None else _read_table(path, actions)
    if "config" in table and options.get("config") is None and path is not None:
        _refuse_code_for_others(path, options.get("targets") or ())
    for key, value in table.items():
        dest = actions[key].dest
        if options.get(dest) is None or options[dest] is False or options[dest] == []:  # not given
            merged[dest] = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else value
    for key, action in actions.items():
        if not action.choices:
            continue
        allowed = tuple(action.choices)
        merged[action.dest] = allowed[0] if merged[action.dest] is None else merged[action.dest]  # first: the default
        if merged[action.dest] not in allowed:
            raise UsageError(f"[tool.graphmem] {key} = {merged[action.dest]!r}", hint=f"one of {', '.join(allowed)}")
    if not merged["targets"]:
        raise UsageError("no target", hint='graphmem lint model.py, or targets = ["model.py"] in [tool.graphmem]')
    return merged


def _settable() -> dict[str, argparse.Action]:
    """By key, the arguments of lint that pyproject.toml may give."""
    named = {
        next((o[2:] for o in action.option_strings if o.startswith("--")), action.dest): action
        for action in actions_of("lint")
    }
    return {key: action for key, action in named.items() if key not in _COMMAND_LINE_ONLY}


def _kind(key: str, action: argparse.Action) -> str:
    if key in _TABLES:
        return _TABLE
    if action.const is True:  # store_true
        return _FLAG
    if action.type is int:
        return _NUMBER
    return _TEXTS if action.nargs == "*" or isinstance(action, argparse._AppendAction) else _TEXT


def _refuse_code_for_others(path: Path, targets: Sequence[str]) -> None:
    """A config is an expression in Python. It is for targets of the same project, whose code is run anyway.

    Raises:
        UsageError: a target on the command line lies elsewhere.
    """
    for target in targets:
        if not Path(target).resolve().is_relative_to(path.parent.resolve()):
            raise UsageError(
                f"{path}: [tool.graphmem] config is Python code, and {target} is not below that folder",
                hint="--config on the command line, or --pyproject with the target's own file",
            )


def _read_table(path: Path, actions: dict[str, argparse.Action]) -> dict[str, Any]:
    """The table in the file; empty if it has none.

    Raises:
        UsageError: the file cannot be read, or a key is unknown or of another kind.
    """
    try:
        content = tomllib.loads(read_text(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="--pyproject takes a pyproject.toml") from error
    except RecursionError:
        raise UsageError(f"{path} is not TOML: it is nested too deeply", hint="correct the file there") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="correct the file there") from None
    except ValueError as error:  # tomllib leaves a number of thousands of digits to int()
        problem = "it has a number with too many digits" if "digits" in str(error) else str(error)
        raise UsageError(f"{path} is not TOML: {problem}", hint="correct the file there") from None
    tool = content.get("tool")
    table = tool.get("graphmem", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.graphmem] is not a table", hint="write [tool.graphmem] on a line of its own")
    for key, value in table.items():
        if key in _COMMAND_LINE_ONLY:
            raise UsageError(
                f"{path}: [tool.graphmem] has no key {key!r}: that is for the command line only", hint=f"--{key}"
            )
        if key not in actions:
            raise UsageError(f"{path}: [tool.graphmem] has no key {key!r}", hint=did_you_mean(key, actions))
        _check(key, value, _kind(key, actions[key]), path)
    return table


def _nearest() -> Path | None:
    """The nearest pyproject.toml, up to the root of the repository, and not from a folder of somebody else's: /tmp is
    everybody's."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return None
    owners = {here.stat().st_uid, os.getuid(), 0} if hasattr(os, "getuid") else None
    for folder in (here, *here.parents):
        path = folder / "pyproject.toml"
        if path.is_file() and (owners is None or path.stat().st_uid in owners):
            return path
        if (folder / ".git").exists():
            return None
    return None


def _check(key: str, value: Any, wanted: str, path: Path) -> None:
    right = {
        _TEXTS: isinstance(value, list) and all(isinstance(v, str) for v in value),
        _TABLE: isinstance(value, dict),
        _FLAG: isinstance(value, bool),
        _NUMBER: isinstance(value, int) and not isinstance(value, bool),
        _TEXT: isinstance(value, str),
    }[wanted]
    if not right:
        raise UsageError(
            f"{path}: [tool.graphmem] {key} is {wanted}, not {value!r}", hint=f"{key} = {_EXAMPLES[wanted]}"
        )
