"""`[tool.graphmem]` in pyproject.toml: what `graphmem lint` is asked, unless the command line says otherwise."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from graphmem.errors import UsageError, did_you_mean
from graphmem.linter.formats import FORMATS

_TEXTS, _TABLE, _FLAG, _TEXT = "a list of strings", "a table", "true or false", "a string"
# Key -> what it has to be. A key is the option's name; `targets` are the arguments.
KEYS = {
    "targets": _TEXTS, "select": _TEXTS, "ignore": _TEXTS, "extend-select": _TEXTS, "at": _TEXTS,
    "budget": _TEXT, "threshold": _TEXT, "format": _TEXT, "baseline": _TEXT, "set": _TABLE, "assume": _TABLE,
    "dtype": _TEXT, "autocast": _TEXT, "gpu": _TEXT, "device": _TEXT, "torch": _TEXT, "cudnn": _TEXT,
    "full-depth": _FLAG, "input": _TEXTS, "config": _TEXT, "task": _TEXT, "trust-remote-code": _FLAG,
}  # fmt: skip

# Keys whose option goes by another name in Python.
_DESTINATIONS = {"torch": "torch_version", "cudnn": "cudnn_version"}


def read_settings(file: str | None) -> dict[str, Any]:
    """The table of `file`, or of the nearest pyproject.toml above the working directory; empty where there is none.

    Raises:
        UsageError: the file cannot be read, or a key is unknown or of another kind.
    """
    path = Path(file) if file else _nearest()
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="--pyproject takes a pyproject.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="put right what it says there") from None
    tool = content.get("tool")
    table = tool.get("graphmem", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.graphmem] is no table", hint="write [tool.graphmem] on a line of its own")
    for key, value in table.items():
        _check(key, value, path)
    return table


def with_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The command line's options, and for those not given what pyproject.toml says.

    Raises:
        UsageError: no target at all, or a value that no option takes.
    """
    table = read_settings(options.get("pyproject"))
    settings = {_DESTINATIONS.get(key, key.replace("-", "_")): value for key, value in table.items()}
    merged = {**options, "format": options["format"] or FORMATS.default, "device": options["device"] or "cuda"}
    for key, value in settings.items():
        if not options.get(key):
            merged[key] = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else value
    for key, allowed in (("format", FORMATS), ("device", ("cuda", "cpu"))):
        if merged[key] not in allowed:
            raise UsageError(f"[tool.graphmem] {key} = {merged[key]!r}", hint=f"one of {', '.join(allowed)}")
    if not merged["targets"]:
        raise UsageError("no target", hint='graphmem lint model.py, or targets = ["model.py"] in [tool.graphmem]')
    return merged


def _nearest() -> Path | None:
    here = Path.cwd()
    return next((p for folder in (here, *here.parents) if (p := folder / "pyproject.toml").is_file()), None)


def _check(key: str, value: Any, path: Path) -> None:
    wanted = KEYS.get(key)
    if wanted is None:
        raise UsageError(f"{path}: [tool.graphmem] has no key {key!r}", hint=did_you_mean(key, KEYS))
    right = {
        _TEXTS: isinstance(value, list) and all(isinstance(v, str) for v in value),
        _TABLE: isinstance(value, dict),
        _FLAG: isinstance(value, bool),
        _TEXT: isinstance(value, str),
    }[wanted]
    if not right:
        raise UsageError(
            f"{path}: [tool.graphmem] {key} is {wanted}, not {value!r}", hint=f"{key} = {_EXAMPLES[wanted]}"
        )


_EXAMPLES = {_TEXTS: '["...", "..."]', _TABLE: "{ s = 4096 }", _FLAG: "true", _TEXT: '"..."'}
