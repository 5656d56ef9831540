"""The plot of a validation: predicted lines and measured dots, over each symbol that was swept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphmem.points import as_text
from graphmem.units import unit_for
from graphmem.validation.result import Validation
from graphmem.validation.svg import Panel, Series, drawn

LINES = 4  # in one panel; if the other symbols have more values, the outermost are shown


@dataclass(frozen=True)
class Row:
    """Bytes at a point; measured: None where nothing was measured."""

    point: Mapping[str, int]
    predicted: int
    measured: int | None


def render(validation: Validation) -> str:
    """An SVG document: a panel over each swept symbol, a line for each value of the others."""
    rows = [
        Row(p.point, p.predicted.saved_bytes, p.measured.saved_bytes if p.measured else None) for p in validation.points
    ]
    return chart(f"{validation.name}: saved for backward", validation.swept, rows)


def chart(title: str, swept: Sequence[str], rows: Sequence[Row]) -> str:
    """The same for rows from anywhere, such as a JSON file."""
    symbols = swept or tuple(rows[0].point)[:1] or ("",)
    return drawn([_panel(title, symbol, swept, rows) for symbol in symbols])


def _panel(title: str, symbol: str, swept: Sequence[str], rows: Sequence[Row]) -> Panel:
    unit, size = unit_for(max(row.predicted for row in rows))
    others = [name for name in swept if name != symbol]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(as_text({n: row.point[n] for n in others}), []).append(row)
    labels = list(groups)
    shown = labels if len(labels) <= LINES else [*labels[: LINES - 1], labels[-1]]
    series = [s for i, label in enumerate(shown) for s in _series(groups[label], symbol, label, size, i)]
    return Panel(title, symbol, unit, tuple(series))


def _series(rows: Sequence[Row], symbol: str, label: str, size: int, colour: int) -> list[Series]:
    suffix = f", {label}" if label else ""
    predicted = tuple((row.point.get(symbol, 0), row.predicted / size) for row in rows)
    measured = tuple((row.point.get(symbol, 0), row.measured / size) for row in rows if row.measured is not None)
    return [
        Series(f"predicted{suffix}", predicted, colour=colour),
        Series(f"measured{suffix}", measured, dots=True, colour=colour),
    ]
