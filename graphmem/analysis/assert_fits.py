"""`graphmem.assert_fits`: a test that fails before the training run does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmem.points import as_text
from graphmem.units import human, read_size

if TYPE_CHECKING:
    from graphmem.analysis.report import Report


def assert_fits(model: Any, inputs: Any = None, *, budget: str | float, **options: Any) -> Report:
    """Analyse, and fail if forward leaves more alive than `budget`.

    Args:
        model, inputs, options: as for `graphmem.analyze`.
        budget: bytes, or a text such as "40GiB": for what is saved for backward, and what closures, caches and outputs
            hold. Weights, gradients, optimizer state and temporaries come on top.

    Raises:
        AssertionError: more is alive; the message shows the five largest causes.
        GraphmemError: the model cannot be analysed.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    limit = read_size(budget, "budget")
    from graphmem.analysis.analyze import analyze

    report = analyze(model, inputs, **options)
    if report.alive.bytes > limit:
        raise AssertionError(_message(report, limit))
    return report


def _message(report: Report, limit: int) -> str:
    from graphmem.render.proof import summed
    from graphmem.report.causes import largest_causes

    alive = report.alive
    over = f"{human(alive.bytes - limit)} over the budget of {human(limit)}"
    point = as_text(report.symbols)
    lines = [
        f"{report.name} does not fit: forward leaves {human(alive.bytes)} alive, {over}",
        f"  as on {report.machine}" + (f", {point}" if point else ""),
        f"  = {summed(alive, report)}",
        "largest causes:",
        *(f"  {cause}" for cause in largest_causes(report)),
    ]
    return "\n".join(lines)
