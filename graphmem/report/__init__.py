"""What an analysis says: values only, without torch, without a model behind them, and without printing."""

from graphmem.report.tables import (
    AttentionPart,
    AttentionRow,
    Limit,
    Location,
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
    "ModuleRow",
    "NodeRow",
    "NotCounted",
    "OtherKernel",
    "ReportData",
    "Size",
    "Verified",
]
