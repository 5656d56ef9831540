"""What a validation found, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from graphmem.units import allocated
from graphmem.validation.compare import Comparison
from graphmem.validation.predict import Prediction
from graphmem.validation.step import Measurement


@dataclass(frozen=True)
class PointResult:
    """One point. failed: why there is no measurement; then `measured` and `compared` are None."""

    predicted: Prediction
    measured: Measurement | None
    compared: Comparison | None
    failed: str | None = None

    @property
    def point(self) -> dict[str, int]:
        return self.predicted.point

    @property
    def exact(self) -> bool:
        """Every saved storage has the predicted size."""
        return self.compared is not None and not self.compared.differences

    @property
    def rise(self) -> int:
        """By how much `requested_bytes` should rise: what earlier steps made and left is there already."""
        return self.predicted.alive - (self.measured.earlier_bytes if self.measured else 0)

    @property
    def allocated_rise(self) -> int:
        """By how much `allocated_bytes` should rise where every block is split."""
        there = self.measured.earlier if self.measured else ()
        return self.predicted.alive_allocated - sum(allocated(nbytes) for nbytes in there)


@dataclass(frozen=True)
class Validation:
    """All points. machine: the machine in words. swept: the symbols that take several values. remarks: what was guessed
    about the model and its inputs."""

    name: str
    machine: str
    device: str
    settings: dict[str, str]
    steps: int
    swept: tuple[str, ...]
    points: tuple[PointResult, ...]
    remarks: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Every point was measured, and every saved storage has the predicted size."""
        return all(p.exact for p in self.points)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why points could not be measured."""
        return tuple(p.failed for p in self.points if p.failed is not None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed, and what the predictions took for granted, each once."""
        return tuple(dict.fromkeys((*self.remarks, *(note for p in self.points for note in p.predicted.notes))))
