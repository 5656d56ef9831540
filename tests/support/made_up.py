"""Derivations, traces and a search that are made up: for tests of which derivation is taken."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from graphmem.errors import TooLongError
from graphmem.points import Point
from graphmem.symbolic.derivation import Derivation


class MadeUp(Derivation):
    """A derivation with only what a test says. It holds at the points for which `right` is true."""

    lacks = False  # in a derivation these two follow from its groups and its trace
    has_kernels = False

    def __init__(self, **fields: object) -> None:
        given = {
            "base": {}, "exact": True, "refused": (), "unclear": (), "doubtful": (), "skipped": (), "depth": (),
            "proofs": ({},), "missed": None, "deeper": {}, "groups": (), "right": lambda point: True,
            "trace": SimpleNamespace(ops=range(9), drew=False, notes=()),
        }  # fmt: skip
        for name, value in {**given, **fields}.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"MadeUp({self.__dict__})"

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def holds(self, trace: Any) -> bool:
        return self.right(trace.point)  # type: ignore[attr-defined, no-any-return]


class Traces:
    """Remembers where it traced. long: where a trace has too many operators."""

    def __init__(
        self, *, finished: bool = False, drew: bool = False, long: Callable[[Point], bool] | None = None
    ) -> None:
        self.finished, self.drew, self.long, self.seen = finished, drew, long, list[Point]()

    def __call__(self, point: Point) -> Any:
        self.seen.append(dict(point))
        return SimpleNamespace(point=dict(point), drew=self.drew)

    def limited(self, _most: int) -> Callable[[Point], None]:
        def traced(point: Point) -> None:
            if self.long and self.long(point):
                raise TooLongError("too many")

        return traced


def searched(derive: Callable[..., Derivation | None], tracer: Traces | None = None, **fields: object) -> Any:
    given = {"depth": {}, "model_symbols": frozenset("hf"), "full_depth": False, "total": "saved", "deepest": {}}
    rest = {"account": None, "room": None, "problem": lambda working: working}
    return SimpleNamespace(derive=derive, tracer=tracer or Traces(), **{**given, **rest, **fields})
