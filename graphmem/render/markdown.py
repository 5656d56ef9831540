"""A report as Markdown tables, for a pull request or a wiki. render/html.py shows the same tables."""

from __future__ import annotations

from tabulate import tabulate

from graphmem.points import as_text
from graphmem.render.attention import each
from graphmem.render.proof import of_one, proof, summed
from graphmem.render.text import plain_markdown
from graphmem.report import ReportData
from graphmem.units import human

LARGEST = 10
Tables = list[tuple[str, list[str], list[list[str]]]]


def render(report: ReportData) -> str:
    """GitHub's Markdown."""
    lines = [f"## {plain_markdown(report.name)}", "", _bold(headline(report)), ""]
    for title, headers, rows in tables(report):
        cells = [list(map(plain_markdown, row)) for row in rows]
        lines += [f"### {title}", "", tabulate(cells, headers, tablefmt="github", disable_numparse=True), ""]
    lines += [f"- {plain_markdown(note)}" for note in report.notes]
    return "\n".join(lines).rstrip() + "\n"


def _bold(line: str) -> str:
    return "**".join(map(plain_markdown, line.split("**")))


def headline(report: ReportData) -> str:
    """The total in one line, with ** around what matters."""
    symbols = as_text(report.symbols)
    expression = summed(report.saved, report)
    return (
        f"**{human(report.saved.bytes)}** ({report.saved.bytes:,} bytes) saved for backward, as on {report.machine}, "
        f"at {symbols or 'the sizes given'}: {expression} ({proof(report)})"
    )


def tables(report: ReportData) -> Tables:
    """Of each table the title, the headers and the rows."""
    modules = [
        [
            m.label or m.cls,
            str(m.count),
            human(m.size.bytes),
            f"{100 * m.size.bytes / max(report.saved.bytes, 1):.1f}",
            each(m, report),
        ]
        for m in report.modules
    ]
    attention = [
        [a.label, str(a.count), a.kind, a.kernel, human(a.size.bytes), a.why, _instead(a.instead)]
        for a in report.attention
    ]
    tensors = [
        [
            human(n.size.bytes),
            str(n.count),
            of_one(n, report),
            n.op,
            str(n.where or ""),
            ", ".join(n.kept_by),
        ]
        for n in report.nodes[:LARGEST]
    ]
    return [
        ("Modules", ["module", "×", "kept", "%", "each keeps"], modules),
        ("Attention", ["attention", "×", "kind", "kernel", "kept", "why", "instead"], attention),
        ("Largest tensors", ["kept", "×", "each", "made by", "where", "kept by"], tensors),
    ]


def _instead(other: object) -> str:
    from graphmem.report import OtherKernel

    return f"{other.kernel}, {human(other.bytes)}: {other.how}" if isinstance(other, OtherKernel) else ""
