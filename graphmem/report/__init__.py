"""What an analysis says: values only, without torch, without a model behind them, and without printing.

tables.py  the tables of a report
plain.py   the same as plain data, for JSON
causes.py  the largest causes, each in a line
saved.py   a report that was saved, read and checked
diff.py    two reports side by side
fit.py     what `graphmem fit` answers
"""

from graphmem.report.tables import (
    AttentionPart,
    AttentionRow,
    Limit,
    Location,
    Missed,
    ModuleRow,
    NodeRow,
    NotCounted,
    OtherKernel,
    ReportData,
    Size,
    Verified,
)

__all__ = [
    "AttentionPart",
    "AttentionRow",
    "Limit",
    "Location",
    "Missed",
    "ModuleRow",
    "NodeRow",
    "NotCounted",
    "OtherKernel",
    "ReportData",
    "Size",
    "Verified",
]
