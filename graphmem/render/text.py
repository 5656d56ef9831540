"""Laying out text for a terminal: tables whose columns shrink, wrapped lines, amounts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tabulate import MIN_PADDING, tabulate

from graphmem.escapes import one_line

NARROWEST_COLUMN = 12


def table(headers: list[str], rows: Sequence[Sequence[object]], columns: int, *, right: tuple[int, ...]) -> str:
    """A plain table of at most `columns` columns. Numbers are right-aligned; columns of text shrink and are wrapped."""
    cells = [[one_line(c) for c in row] for row in rows]
    return tabulate(
        cells,
        headers,
        tablefmt="simple",
        colalign=["right" if i in right else "left" for i in range(len(headers))],
        # Numbers are never wrapped, and tabulate trips over the commas in them where it tries.
        maxcolwidths=[None if i in right else w for i, w in enumerate(_widths(headers, cells, columns, right))],
        disable_numparse=True,
        preserve_whitespace=True,
    )


def _widths(headers: list[str], cells: list[list[str]], columns: int, right: tuple[int, ...]) -> list[int]:
    least = [len(header) + MIN_PADDING for header in headers]  # tabulate makes no column narrower
    words = [max((len(w) for row in cells for w in row[i].split()), default=1) for i in range(len(headers))]
    widths = [max([least[i], *(len(row[i]) for row in cells)]) for i in range(len(headers))]
    over = sum(widths) + 2 * (len(headers) - 1) - columns
    text = [i for i in range(len(headers)) if i not in right]
    # First the widest gives what is missing, as far as its longest word allows; then words are broken.
    for floors in (words, [NARROWEST_COLUMN] * len(headers)):
        for i in sorted(text, key=lambda i: -widths[i]):
            cut = min(max(over, 0), max(0, widths[i] - max(least[i], floors[i])))
            widths[i] -= cut
            over -= cut
    return widths


def filled(parts: list[str], separator: str, columns: int) -> list[str]:
    """`parts` on as few lines as they need, none of them broken."""
    lines = [""]
    for part in map(one_line, parts):
        if lines[-1] and len(lines[-1]) + len(separator) + len(part) > columns:
            lines.append("")
        lines[-1] += (separator if lines[-1] else "") + part
    return lines


def wrapped(text: str, columns: int, indent: str, first: str | None = None) -> list[str]:
    """`text` on lines of at most `columns`, the first after `first`, the others after `indent`."""
    return textwrap.wrap(
        one_line(text),
        columns,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def amount(nbytes: int, unit: int) -> str:
    """A number of `unit`s of so many bytes, for a column."""
    return f"{nbytes / unit:.2f}" if unit > 1 else str(nbytes)


def short(where: object) -> str:
    """The file without its folders, and the line."""
    return Path(str(where)).name


def plain_markdown(text: object) -> str:
    """Text in which nothing is Markdown, on one line."""
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", one_line(text))


def as_code(text: object) -> str:
    """Text in a span of Markdown code, where a backslash escapes nothing; within a table a bar needs one."""
    return f"`{one_line(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
