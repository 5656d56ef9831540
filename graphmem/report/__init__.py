"""What an analysis says: plain frozen data, without torch and without printing."""

from graphmem.report.tables import (
    AttentionRow,
    Location,
    ModuleRow,
    NodeRow,
    NotCounted,
    Report,
    Size,
    Verified,
)

__all__ = ["AttentionRow", "Location", "ModuleRow", "NodeRow", "NotCounted", "Report", "Size", "Verified"]
