"""`Note`: a sentence for the reader of a report, and what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class About(Enum):
    """ANALYSIS: what was found, guessed or assumed. FORMULA: for which values the formula is. BOUNDS: the same for
    values that move with the model's own integers: the sentence is another one at another point."""

    ANALYSIS = "analysis"
    FORMULA = "formula"
    BOUNDS = "bounds"


@dataclass(frozen=True)
class Note:
    """One sentence."""

    text: str
    about: About = About.ANALYSIS

    @property
    def belongs_to_formula(self) -> bool:
        """Whether the formula must not be taken away without it."""
        return self.about is not About.ANALYSIS

    def __str__(self) -> str:
        return self.text
