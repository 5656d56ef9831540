"""The plot of a validation: predicted lines and measured dots, over each symbol that was swept."""

from __future__ import annotations

from graphmem.units import unit_for
from graphmem.validate.result import PointResult, Validation
from graphmem.validate.svg import Panel, Series, drawn

LINES = 4  # in one panel; of more values of the other symbols the outermost are shown


def render(validation: Validation) -> str:
    """An SVG document: a panel over each swept symbol, a line for each value of the others."""
    symbols = validation.swept or tuple(validation.points[0].point)[:1]
    return drawn([_panel(validation, symbol) for symbol in symbols or ("",)])


def _panel(validation: Validation, symbol: str) -> Panel:
    unit, size = unit_for(max(p.predicted.saved_bytes for p in validation.points))
    others = [name for name in validation.swept if name != symbol]
    groups: dict[str, list[PointResult]] = {}
    for point in validation.points:
        groups.setdefault(" ".join(f"{n}={point.point[n]}" for n in others), []).append(point)
    labels = list(groups)
    shown = labels if len(labels) <= LINES else [*labels[: LINES - 1], labels[-1]]
    series = [s for i, label in enumerate(shown) for s in _series(groups[label], symbol, label, size, i)]
    return Panel(f"{validation.name}: saved for backward", symbol, unit, tuple(series))


def _series(points: list[PointResult], symbol: str, label: str, size: int, colour: int) -> list[Series]:
    suffix = f", {label}" if label else ""
    predicted = tuple((p.point.get(symbol, 0), p.predicted.saved_bytes / size) for p in points)
    measured = tuple((p.point.get(symbol, 0), p.measured.saved_bytes / size) for p in points if p.measured is not None)
    return [
        Series(f"predicted{suffix}", predicted, colour=colour),
        Series(f"measured{suffix}", measured, dots=True, colour=colour),
    ]
