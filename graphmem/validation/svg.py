"""Line charts as SVG text, for a page or a report: panels with axes, lines and dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 320  # of a panel, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 34, 52
_LINE_HEIGHT = 16
# Told apart also without colour vision: Okabe and Ito's palette.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@dataclass(frozen=True)
class Series:
    """Points (x, y) under one name: a line, or dots. Series of one `colour` (0, 1, ...) belong together."""

    label: str
    points: tuple[tuple[float, float], ...]
    dots: bool = False
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """A chart with its title and the names of its axes, units included."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]


def drawn(panels: Sequence[Panel], columns: int = 2) -> str:
    """The panels in rows of `columns`, as an SVG document."""
    columns = min(columns, len(panels))
    legend = max(len(panel.series) for panel in panels) * _LINE_HEIGHT + 8
    height = HEIGHT + legend
    size = columns * WIDTH, -(-len(panels) // columns) * height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="12">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="white"/>',
    ]
    for i, panel in enumerate(panels):
        parts.append(f'<g transform="translate({i % columns * WIDTH},{i // columns * height})">')
        parts += [*_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Axis:
    """Values onto pixels from `start` to `end`, with round ticks around `low` to `high`."""

    low: float
    high: float
    start: float
    end: float

    @property
    def step(self) -> float:
        raw = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        return next(m * power for m in (1, 2, 5, 10) if m * power >= raw)

    @property
    def ticks(self) -> list[float]:
        first = math.ceil(self.low / self.step - 1e-9)
        return [n * self.step for n in range(first, math.floor(self.high / self.step + 1e-9) + 1)]

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    """From 0, or from below it, to a little beyond the largest value."""
    low, high = min(0.0, *values), max(0.0, *values)
    if low == high:
        high = low + 1
    margin = 0.05 * (high - low)
    return _Axis(low - margin if low < 0 else 0, high + margin if high > 0 else 0, start, end)


def _panel(panel: Panel) -> list[str]:
    xs = [x for s in panel.series for x, _ in s.points] or [0.0]
    ys = [y for s in panel.series for _, y in s.points] or [0.0]
    x, y = _axis([*xs, 0.0], _LEFT, WIDTH - _RIGHT), _axis([*ys, 0.0], HEIGHT - _BOTTOM, _TOP)
    return [
        f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(panel.title)}</text>',
        *(_line(_LEFT, y(t), WIDTH - _RIGHT, y(t), "#ddd") for t in y.ticks),
        *(_text(_LEFT - 6, y(t) + 4, _number(t, y.step), "end") for t in y.ticks),
        *(_line(x(t), HEIGHT - _BOTTOM, x(t), HEIGHT - _BOTTOM + 5, "#444") for t in x.ticks),
        *(_text(x(t), HEIGHT - _BOTTOM + 18, _number(t, x.step), "middle") for t in x.ticks),
        _line(_LEFT, HEIGHT - _BOTTOM, WIDTH - _RIGHT, HEIGHT - _BOTTOM, "#444"),
        _line(_LEFT, _TOP, _LEFT, HEIGHT - _BOTTOM, "#444"),
        _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - _BOTTOM + 36, panel.x, "middle"),
        f'<text transform="translate(16,{(_TOP + HEIGHT - _BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.y)}</text>",
        *(part for s in panel.series for part in _series(s, x, y)),
        *(part for i, s in enumerate(panel.series) for part in _key(s, HEIGHT - 4 + i * _LINE_HEIGHT)),
    ]


def _series(series: Series, x: _Axis, y: _Axis) -> list[str]:
    colour = _COLOURS[series.colour % len(_COLOURS)]
    places = [(x(a), y(b)) for a, b in sorted(series.points)]
    if series.dots:
        return [_dot(a, b, colour) for a, b in places]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    dash = ' stroke-dasharray="6 4"' if series.dashed else ""
    return [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>']


def _key(series: Series, at: float) -> list[str]:
    """The line of the legend."""
    colour = _COLOURS[series.colour % len(_COLOURS)]
    dash = ' stroke-dasharray="6 4"' if series.dashed else ""
    mark = (
        _dot(_LEFT + 12, at, colour)
        if series.dots
        else f'<line x1="{_LEFT}" y1="{at}" x2="{_LEFT + 24}" y2="{at}" stroke="{colour}" stroke-width="2"{dash}/>'
    )
    return [mark, _text(_LEFT + 32, at + 4, series.label, "start")]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" stroke="white"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: float, step: float) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}"
