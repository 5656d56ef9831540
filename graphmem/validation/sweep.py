"""The points of a sweep: ``s=512,1024 b=1,4`` is every s with every b."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from graphmem.errors import SymbolError, UsageError, did_you_mean
from graphmem.load.subject import read_symbol

Sweep = Mapping[str, Sequence[int]]
_EXAMPLE = "--sweep s=512,1024,2048 b=1,4"


def read_sweep(words: Sequence[str]) -> dict[str, list[int]]:
    """The sweep that words of a command line ask for.

    Raises:
        UsageError: one that cannot be read.
    """
    sweep: dict[str, list[int]] = {}
    for word in words:
        name, _, values = word.partition("=")
        try:
            numbers = [int(value.replace("_", "")) for value in values.split(",")]
        except ValueError:
            raise UsageError(f"--sweep {word}: not NAME=NUMBER,NUMBER,...", hint=_EXAMPLE) from None
        if not name or min(numbers) < 1:
            raise UsageError(f"--sweep {word}: not NAME=NUMBER,NUMBER,... of positive numbers", hint=_EXAMPLE)
        if name in sweep:
            raise UsageError(f"--sweep has {name} twice", hint=_EXAMPLE)
        sweep[name] = list(dict.fromkeys(numbers))
    return sweep


def points_of(sweep: Sweep, symbols: Mapping[str, int]) -> list[dict[str, int]]:
    """Every combination, the rest at its working point.

    Raises:
        SymbolError: a name that is not a symbol, or a value that is not a positive integer.
        UsageError: what is no sweep.
    """
    example = 'sweep={"s": [512, 1024], "b": [1, 4]}'
    if not isinstance(sweep, Mapping):
        raise UsageError(f"a sweep is a dict, not {sweep!r}", hint=example)
    for name, values in sweep.items():
        if name not in symbols:
            raise SymbolError(f"unknown symbol {name!r} in --sweep", hint=did_you_mean(str(name), symbols))
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise UsageError(f"the sweep of {name} is a list of values, not {values!r}", hint=example)
    values_of = {name: [read_symbol(name, value) for value in values] for name, values in sweep.items()}
    return [{**symbols, **dict(zip(sweep, values, strict=True))} for values in itertools.product(*values_of.values())]
