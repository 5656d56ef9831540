"""The inputs that a class of transformers is trained with, made from its config and from forward's parameters."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphmem.load.discover.spec import Argument, Spec
from graphmem.load.hf.arguments import ARGUMENTS, Make
from graphmem.load.hf.tensors import Point, Sizes, arguments
from graphmem.load.names import LIMITS

# The sizes of the inputs where neither the user nor the config gives one.
BATCH, LENGTH = 8, 2048
_ELSE = {"frames": 512, "choices": 4, "side": 16, "patches": 1024, "queries": 32, "regions": 36}


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Which arguments forward gets; `symbols` are those of their sizes that are not the config's own."""

    model: Any
    makers: Mapping[str, Make]
    symbols: Mapping[str, int]
    notes: tuple[str, ...]

    def reach(self, path: tuple[str, ...]) -> bool:
        """Whether the part of the model with that sub-config gets anything: text alone leaves the image's part idle."""
        seen = any(name.startswith(("pixel", "input_f", "input_v")) for name in self.makers)
        return seen or "input_ids" not in self.makers or not any(_SEES.search(key) for key in path)

    def at(self, config: Any, point: Point) -> dict[str, Any]:
        """The arguments at a point."""
        sizes = Sizes(model=self.model, config=config, point=point)
        return {name: make(sizes) for name, make in self.makers.items()}


def inputs_for(model: Any, config: Any, given: Mapping[str, Argument], point: Point) -> Inputs:
    """The inputs of a class of transformers.

    Args:
        given: arguments that the user describes, or leaves out. point: values for the sizes in them.
    """
    parameters = arguments(model)
    sizes = Sizes(model=model, config=config, point=point)
    required = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty]
    chosen = [n for n, entry in ARGUMENTS.items() if n in parameters and entry.given(sizes)]
    makers = {n: make for n in [*required, *chosen] if (make := _maker(n, parameters[n])) is not None}
    makers |= {name: _as_given(argument) for name, argument in given.items()}
    return Inputs(
        model=model,
        makers=makers,
        symbols=_symbols(makers, sizes),
        notes=tuple(_notes(list(parameters), makers)),
    )


def _maker(name: str, parameter: inspect.Parameter) -> Make | None:
    """How to make an argument; None for one that is not known here: then forward says that it is missing."""
    if name in ARGUMENTS:
        return ARGUMENTS[name].make
    may_be_none = type(None) in typing.get_args(parameter.annotation)
    return (lambda _at: None) if may_be_none else None


def _as_given(argument: Argument) -> Make:
    if isinstance(argument, Spec):
        return lambda at: argument.make(at.point, at.dtype)
    return lambda _at: argument.value


_SEES = re.compile(r"vision|image|audio|speech|vq|former|perceiver|projector|codec|token2wav|talker")


def _symbols(makers: Mapping[str, Make], sizes: Sizes) -> dict[str, int]:
    """The symbols that the makers ask for, at the user's values or the usual ones."""
    limit = sizes.find(*LIMITS, default=LENGTH)
    length = min(LENGTH, limit if isinstance(limit, int) and limit > 0 else LENGTH)
    length = length // 128 * 128 or length  # RoBERTa's 514 are 512 and two that are not for tokens
    target = min(length, sizes.find("max_target_positions", default=length))
    defaults = {"b": BATCH, "s": length, "s_decoder": target, **_ELSE}
    asked = _Asked({**defaults, **sizes.point})
    for make in makers.values():
        make(Sizes(model=sizes.model, config=sizes.config, point=asked))
    own = {**defaults, **{n: v for n, v in sizes.point.items() if n not in defaults}}
    return {name: value for name, value in own.items() if name in asked.names}


class _Asked(dict[str, int]):
    """Remembers which names were asked for."""

    def __init__(self, values: Mapping[str, int]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> int:
        self.names.add(name)
        return super().__getitem__(name)


def _notes(names: list[str], makers: Mapping[str, Make]) -> list[str]:
    left_out = [n for n in ("pixel_values", "pixel_values_videos", "input_features", "input_values") if n in names]
    missing = [n for n in left_out if n not in makers]
    return [f"text only: forward's {', '.join(missing)} was left out"] if missing and "input_ids" in makers else []
