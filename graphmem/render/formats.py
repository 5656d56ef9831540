"""A table of output formats. `--help` lists their names, and imports neither torch nor sympy for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Formats(Mapping[str, Callable[[T], str | bytes]], Generic[T]):
    """Name of a format -> the function that renders it, whose module is imported when the function is asked for.

    A function takes what is to be shown and returns text, or bytes where the format is not text. It prints nothing.
    """

    def __init__(self, package: str, functions: Mapping[str, str]) -> None:
        """`functions` are of `package`, written as "module:function"; the first of them is the default."""
        self._package = package
        self._functions = dict(functions)

    def __getitem__(self, name: str) -> Callable[[T], str | bytes]:
        module, function = self._functions[name].split(":")
        render: Any = getattr(import_module(f"{self._package}.{module}"), function)
        return render  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    @property
    def default(self) -> str:
        """The format if the user names none."""
        return next(iter(self))
