"""`Memo`: what was made at each point, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from graphmem.errors import ModelError
from graphmem.points import Key, Point, key

T = TypeVar("T")


class Memo(Generic[T]):
    """What was made at each point, once; and where the model refuses a point, that it does."""

    def __init__(self) -> None:
        self._made: dict[Key, T] = {}
        self._refused: dict[Key, ModelError] = {}

    def __contains__(self, point: Point) -> bool:
        return key(point) in self._made

    def at(self, point: Point, make: Callable[[], T]) -> T:
        """What was made at `point`; `make` makes it the first time.

        Raises:
            ModelError: `make` raised it, now or earlier. Of any other error nothing is kept.
        """
        found = key(point)
        if (refused := self._refused.get(found)) is not None:
            raise _like(refused)
        if found not in self._made:
            try:
                self._made[found] = make()
            except ModelError as error:
                if self._made:  # else it is the model that does not run, and the user wants to see where
                    self._refused[found] = _like(error)
                raise
        return self._made[found]


def _like(error: ModelError) -> ModelError:
    """The same error without its traceback, which keeps alive all that the model had made."""
    return ModelError(error.what, where=error.where, hint=error.hint)
