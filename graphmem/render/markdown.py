"""A report as Markdown tables, for a pull request or a wiki; and the same as a page of HTML."""

from __future__ import annotations

from html import escape

from tabulate import tabulate

from graphmem.points import as_text
from graphmem.report import ReportData
from graphmem.symbolic.text import formula
from graphmem.units import human

LARGEST = 10
Tables = list[tuple[str, list[str], list[list[str]]]]


def render(report: ReportData) -> str:
    """GitHub's Markdown."""
    lines = [f"## {report.name}", "", _headline(report), ""]
    for title, headers, rows in _tables(report):
        lines += [f"### {title}", "", tabulate(rows, headers, tablefmt="github", disable_numparse=True), ""]
    lines += [f"- {note}" for note in report.notes]
    return "\n".join(lines).rstrip() + "\n"


def render_html(report: ReportData) -> str:
    """One page without scripts or links."""
    body = [f"<h1>{escape(report.name)}</h1>", f"<p>{escape(_headline(report)).replace('**', '')}</p>"]
    for title, headers, rows in _tables(report):
        body += [f"<h2>{escape(title)}</h2>", tabulate(rows, headers, tablefmt="html", disable_numparse=True)]
    body += [f"<p>{escape(note)}</p>" for note in report.notes]
    style = "body{font-family:sans-serif}table{border-collapse:collapse}td,th{padding:.2em .6em;text-align:left}"
    head = f'<meta charset="utf-8"><title>{escape(report.name)}</title><style>{style}</style>'
    return f"<!doctype html>\n<html><head>{head}</head><body>\n" + "\n".join(body) + "\n</body></html>\n"


def _headline(report: ReportData) -> str:
    symbols = as_text(report.symbols)
    proof = "proved" if report.verified.exact else "NOT PROVED"
    return (
        f"**{human(report.saved.bytes)}** ({report.saved.bytes:,} bytes) saved for backward, as on {report.machine}, "
        f"at {symbols or 'the sizes given'}: {formula(report.saved.expr, report.symbols, report.depth)} ({proof})"
    )


def _tables(report: ReportData) -> Tables:
    point = report.symbols
    modules = [
        [
            m.label or m.cls,
            str(m.count),
            human(m.size.bytes),
            f"{100 * m.size.bytes / max(report.saved.bytes, 1):.1f}",
            formula(m.each, point) if m.each is not None else "",
        ]
        for m in report.modules
    ]
    attention = [
        [a.label, str(a.count), a.kind, a.kernel, human(a.size.bytes), a.why, _instead(a.instead)]
        for a in report.attention
    ]
    tensors = [
        [human(n.size.bytes), str(n.count), formula(n.each_expr, point), n.op, str(n.where or ""), ", ".join(n.kept_by)]
        for n in report.nodes[:LARGEST]
    ]
    return [
        ("Modules", ["module", "×", "kept", "%", "formula for one"], modules),
        ("Attention", ["attention", "×", "kind", "kernel", "kept", "why", "instead"], attention),
        ("Largest tensors", ["kept", "×", "one", "made by", "where", "kept by"], tensors),
    ]


def _instead(other: object) -> str:
    from graphmem.report import OtherKernel

    return f"{other.kernel}, {human(other.bytes)}: {other.how}" if isinstance(other, OtherKernel) else ""
