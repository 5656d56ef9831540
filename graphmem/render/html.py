"""A report as a page of HTML: the tables of render/markdown.py."""

from __future__ import annotations

from html import escape

from tabulate import tabulate

from graphmem.render.markdown import headline, tables
from graphmem.report import ReportData


def render(report: ReportData) -> str:
    """One page without scripts or links."""
    body = [f"<h1>{escape(report.name)}</h1>", f"<p>{escape(headline(report)).replace('**', '')}</p>"]
    for title, headers, rows in tables(report):
        body += [f"<h2>{escape(title)}</h2>", tabulate(rows, headers, tablefmt="html", disable_numparse=True)]
    body += [f"<p>{escape(note)}</p>" for note in report.notes]
    style = "body{font-family:sans-serif}table{border-collapse:collapse}td,th{padding:.2em .6em;text-align:left}"
    head = f'<meta charset="utf-8"><title>{escape(report.name)}</title><style>{style}</style>'
    return f"<!doctype html>\n<html><head>{head}</head><body>\n" + "\n".join(body) + "\n</body></html>\n"
