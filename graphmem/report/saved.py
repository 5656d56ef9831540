"""A report that somebody saved, or changed by hand, or made: what a comparison needs is there, and is what it should
be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphmem.errors import UsageError
from graphmem.report.plain import FORMAT
from graphmem.saved_json import is_size, parse, read_text

HINT = "a file that --format json -o wrote"
Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_text, [*value, *value.values()]))


def _symbols(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_text(n) and n.isidentifier() and is_size(v) for n, v in value.items())


def _each(fields: Mapping[str, Check]) -> Check:
    """A list of rows that have these fields."""
    row = _fields(fields)
    return lambda value: isinstance(value, (list, tuple)) and all(map(row, value))


def _fields(fields: Mapping[str, Check]) -> Check:
    return lambda value: (
        isinstance(value, Mapping) and all(name in value and right(value[name]) for name, right in fields.items())
    )


# What a comparison reads; docs/json.md has all fields.
_FIELDS: Mapping[str, Check] = {
    "name": _text,
    "target": _text,
    "settings": _texts,
    "symbols": _symbols,
    "saved": _fields({"bytes": is_size, "expr": _text}),
    "alive": _fields({"bytes": is_size}),
    "modules": _each({"module": _text, "own_bytes": is_size}),
    "attention": _each({"module": _text, "kernel": _text}),
}


def checked(data: Any) -> Mapping[str, Any]:
    """The report, if it is one.

    Raises:
        UsageError: a field is missing, or is of another kind.
    """
    if not isinstance(data, Mapping):
        raise UsageError(f"a report is a dict, as Report.to_dict gives it, not {type(data).__name__}", hint=HINT)
    for name, right in _FIELDS.items():
        if name not in data or not right(data[name]):
            problem = "is not what graphmem writes" if name in data else "is missing"
            raise UsageError(
                f"one of the two is not a graphmem report, or was changed by hand: {name!r} {problem}", hint=HINT
            )
    return data


def load_json(path: str) -> Any:
    """What is in a JSON file, read once.

    Raises:
        UsageError: it cannot be read, or is not JSON.
    """
    try:
        return parse(read_text(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=HINT) from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", hint=HINT) from None


def load_report(path: str) -> Mapping[str, Any]:
    """A report that was saved with --format json.

    Raises:
        UsageError: it is not a report.
    """
    return as_report(load_json(path), path)


def as_report(data: Any, path: str) -> Mapping[str, Any]:
    """What was read from `path` as a report.

    Raises:
        UsageError: it is not one.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT or "saved" not in data:
        raise UsageError(f"{path} is not a graphmem report", hint=HINT)
    return checked(data)


def is_report(data: Any) -> bool:
    """Whether what was read is a report rather than a model's config."""
    return isinstance(data, dict) and "graphmem" in data
