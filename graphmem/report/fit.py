"""What `graphmem fit` answers: the largest value of a symbol at which the model fits into memory."""

from __future__ import annotations

from dataclasses import dataclass

from graphmem.report.tables import ReportData


@dataclass(frozen=True)
class Fit:
    """The answer, in bytes. value: the largest that fits; None if nothing does, and `why`. at: the report there, or the
    one that was asked where nothing fits.

    parameters: the weights themselves, at the smallest value where nothing fits.
    reserve: what the user keeps free for gradients, optimizer state, temporaries.
    """

    symbol: str
    value: int | None
    why: str
    memory: int
    parameters: int
    reserve: int
    at: ReportData

    @property
    def most(self) -> int | None:
        """The largest value that the model accepts at all, if that is known."""
        return most_taken(self.at, self.symbol)

    @property
    def used(self) -> int:
        return self.parameters + self.reserve + self.at.alive.bytes


def most_taken(report: ReportData, name: str) -> int | None:
    """The largest value of symbol `name` that the model accepts at all, if that is known."""
    limits = (x.most for x in report.limits if x.symbol == name and x.refused and x.most is not None)
    return min(limits, default=None)
