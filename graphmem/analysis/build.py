"""`build_report`: an analysis, evaluated at a point."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from graphmem.accounts.saved import ALIVE
from graphmem.analysis.analysis import Analysis
from graphmem.analysis.at import analysis_for, moved_to
from graphmem.analysis.limits import limits
from graphmem.analysis.report import Report
from graphmem.analysis.rows import Rows
from graphmem.analysis.solve import solve
from graphmem.load.subject import read_symbol
from graphmem.points import Point
from graphmem.symbolic.bounds import said_of
from graphmem.symbolic.notes import About, Note


def build_report(analysis: Analysis, point: Point) -> Report:
    """The report at `point`."""
    derived = analysis.derived
    rows = Rows(analysis, point)
    return Report(
        name=analysis.name,
        machine=analysis.machine.describe(),
        symbols={n: point[n] for n in derived.symbols},
        settings=analysis.how.settings,
        saved=rows.total(analysis.saved),
        alive=rows.total(analysis.tables(*ALIVE)),
        verified=rows.verified(),
        limits=limits(analysis, point),
        nodes=tuple(sorted((rows.node(g) for g in analysis.saved), key=lambda n: -n.size.bytes)),
        modules=rows.modules(),
        attention=rows.attention(),
        not_counted=rows.not_counted(),
        depth=derived.depth,
        fixed={n: derived.base[n] for n in derived.fixed},
        remarks=_remarks(analysis, point),
        _live=_Model(analysis, point),
    )


def _remarks(analysis: Analysis, point: Point) -> tuple[Note, ...]:
    """The notes, with the bounds as they are at `point`, of which some move with another symbol; and with how many
    layers were seen, where that is less than `point` has."""
    held = said_of(analysis.bounds, point, kernels=analysis.derived.has_kernels)
    notes = [replace(note, text=held) if note.about is About.BOUNDS else note for note in analysis.notes]
    for name, seen in analysis.layers.items():
        if point[name] > seen:
            layers = f"{name}={point[name]}: extrapolated from {seen} layers, as if forward ran all layers alike"
            more = f"{layers}; --full-depth (full_depth=True) with {name}={point[name]} traces them all"
            notes.append(Note(more, About.FORMULA))
    return tuple(notes)


@dataclass(frozen=True)
class _Model:
    """The model behind a report at `point`."""

    analysis: Analysis
    point: Point

    @property
    def graph(self) -> torch.fx.Graph:
        return self.analysis.graph

    def at(self, symbols: Point) -> Report:
        asked = {name: read_symbol(name, value) for name, value in symbols.items()}
        there = analysis_for(self.analysis, asked)
        return build_report(there, moved_to(there, self.point, asked))

    def solve(self, report: Report, symbol: str, budget: float | str, others: Point) -> int:
        return solve(report, symbol, budget, others)
