"""A report as text. One file per format; each has a function that returns a string, or bytes, and prints nothing.

    table.py      the table for a terminal; attention.py has its part about attentions
    markdown.py   Markdown; html.py shows the same tables
    json.py       JSON
    formula.py    the formula alone: LaTeX, Python, plain ASCII
    proof.py      what all of them say of the formula's proof
    fit.py        what `graphmem fit` found
    diff.py       what `graphmem diff` found
    text.py       laying out text for a terminal
    formats.py    what a table of formats is

The tables below are the only lists of formats: the command line takes its choices from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmem.render.formats import Formats

if TYPE_CHECKING:
    from graphmem.report import ReportData
    from graphmem.report.diff import Diff
    from graphmem.report.fit import Fit

FORMATS: Formats[ReportData] = Formats(
    __name__,
    {
        "table": "table:render",
        "json": "json:render",
        "markdown": "markdown:render",
        "html": "html:render",
        "latex": "formula:latex",
        "python": "formula:python",
    },
)
FIT_FORMATS: Formats[Fit] = Formats(__name__, {"table": "fit:render", "json": "fit:as_json"})
DIFF_FORMATS: Formats[Diff] = Formats(__name__, {"table": "diff:render", "json": "diff:as_json"})
