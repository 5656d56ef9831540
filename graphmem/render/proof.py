"""What every format says of the proof of a formula."""

from __future__ import annotations

from graphmem.points import as_text
from graphmem.report import ReportData
from graphmem.units import human


def proof(report: ReportData) -> str:
    """Whether the formula is proved, and where; or why not."""
    verified = report.verified
    if not report.symbols:
        return "no formula: no size could be varied"
    if verified.point is None:
        return "not proved: no other point could be traced"
    point = as_text({n: verified.point[n] for n in report.symbols})
    if verified.exact:
        more = len(verified.points) - 1
        also = f" and at {more} more point{'s' if more > 1 else ''}" if more else ""
        return f"proved: 0 bytes off at {point}{also}"
    missing = sum(n.size.bytes for n in report.nodes if not n.proved)
    if not missing:
        return f"NOT PROVED: every size has an expression, but together they are not what is kept at {point}"
    return f"NOT PROVED: {100 * verified.share:.1f} % have an expression, {human(missing)} a number only"
