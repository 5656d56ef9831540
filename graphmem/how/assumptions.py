"""What to take for granted where forward asks for a value that depends on weights or activations, which have none.

Two questions have an answer that is right for almost every model: which experts a router chooses (all of them equally
often) and whether something is NaN or infinite (it is not). Anything else has to be given: `--assume model.py:88=3`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from graphmem.errors import UsageError
from graphmem.record import Place
from graphmem.units import read_count

EXPERTS = "experts"
BALANCED, WORST = "balanced", "worst"


@dataclass(frozen=True)
class Assumptions:
    """experts: "balanced" (every expert is chosen equally often) or "worst" (all tokens choose the same ones).
    values: what a line is answered, by (end of file name, line): the number that `.item()`, `if` or `.tolist()` there
    gets, or how many rows `nonzero` and the like give.
    """

    experts: str = BALANCED
    values: Mapping[tuple[str, int], float] = field(default_factory=dict)

    def at(self, place: Place | None) -> float | None:
        """What was given for the line."""
        if place is None:
            return None
        path = Path(place.file).as_posix()
        return next(
            (v for (file, line), v in self.values.items() if line == place.line and f"/{path}".endswith(f"/{file}")),
            None,
        )


def read_assumptions(texts: Mapping[str, object]) -> Assumptions:
    """From ``{"experts": "worst", "model.py:88": 3}``.

    Raises:
        UsageError: what it cannot read.
    """
    if not isinstance(texts, Mapping):
        raise UsageError(f"assume is a dict, not {texts!r}", hint='assume={"experts": "worst"}')
    experts, values = BALANCED, {}
    for key, value in texts.items():
        file, colon, line = str(key).rpartition(":")
        if key == EXPERTS and value in (BALANCED, WORST):
            experts = str(value)
        elif colon and (number := read_count(line)) is not None:
            values[Path(file).as_posix(), number] = _number(key, value)
        else:
            raise UsageError(
                f"cannot assume {key}={value}", hint="experts=balanced, experts=worst, or a line: model.py:88=3"
            )
    return Assumptions(experts, values)


def _number(key: str, value: object) -> float:
    text = str(value).lower()
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:  # no digits, or thousands of them
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"cannot assume {key}={value}: not a number", hint=f"{key}=3, or true, false") from None
