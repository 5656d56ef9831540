"""The largest causes of what is saved, each in a line: for a message about a budget."""

from __future__ import annotations

from pathlib import PurePath

from graphmem.report.tables import ReportData
from graphmem.units import human


def largest_causes(report: ReportData, number: int = 5) -> list[str]:
    """`2.25 GiB, 12 of _softmax in blocks.*.attn, gpt2.py:28`, the largest first."""
    lines = []
    for node in report.nodes[:number]:
        op = node.op.removeprefix("aten.").rsplit(".", 1)[0]
        times = f"{node.count} of " if node.count > 1 else ""
        where = f", {PurePath(node.where.file).name}:{node.where.line}" if node.where else ""
        lines.append(f"{human(node.size.bytes)}, {times}{op} in {node.module or 'the model'}{where}")
    return lines
