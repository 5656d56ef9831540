"""What an analysis says: plain frozen data, without torch and without printing."""

from graphmem.report.tables import (
    AttentionPart,
    AttentionRow,
    Limit,
    Location,
    ModuleRow,
    NodeRow,
    NotCounted,
    OtherKernel,
    Report,
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
    "Report",
    "Size",
    "Verified",
]
