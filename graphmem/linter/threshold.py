"""What is too small to report."""

from __future__ import annotations

from dataclasses import dataclass

from graphmem.errors import UsageError
from graphmem.linter.finding import Finding
from graphmem.units import parse_bytes


@dataclass(frozen=True)
class Threshold:
    """How large a finding has to be to be reported: in bytes, and as a share of all that is saved."""

    bytes: int = 0
    share: float = 0.01

    def admits(self, finding: Finding) -> bool:
        """Whether it is large enough, or of a rule that is always reported."""
        return finding.rule.always or finding.weight >= max(self.bytes, self.share * finding.of, 1)


def read_threshold(text: str) -> Threshold:
    """`1%` or `10MiB`.

    Raises:
        UsageError: it is neither.
    """
    number = text.strip().removesuffix("%")
    try:
        if number != text.strip():
            share = float(number) / 100
            if not 0 <= share <= 1:  # nor NaN, which nothing is smaller than
                raise ValueError("not a share")
            return Threshold(share=share)
        return Threshold(bytes=parse_bytes(text), share=0)
    except ValueError:
        raise UsageError(f"cannot read the threshold {text!r}", hint="a share or a size: 1% or 10MiB") from None
