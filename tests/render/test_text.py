"""Tables for a terminal: they fit, and no cell is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmem.render.text import NARROWEST_COLUMN, filled, table, wrapped

WORD = st.text(alphabet="abcdefghij.[]_s²,:-", min_size=1, max_size=30)
PHRASE = st.lists(WORD, max_size=6).map(" ".join)
NUMBER = st.integers(0, 10**9).map(lambda n: f"{n:,}")


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], tuple[int, ...]]:
    """Headers, rows, and which columns hold numbers."""
    right = draw(st.lists(st.booleans(), min_size=1, max_size=5))
    headers = [draw(st.text(alphabet="abcdef", min_size=1, max_size=8)) for _ in right]
    rows = draw(st.lists(st.tuples(*(NUMBER if r else PHRASE for r in right)), min_size=1, max_size=6))
    return headers, [list(row) for row in rows], tuple(i for i, r in enumerate(right) if r)


def least(headers: list[str], rows: list[list[str]], right: tuple[int, ...]) -> int:
    """The columns below which a table cannot go: numbers are not broken, and text has a dozen."""
    numbers = sum(max(len(headers[i]) + 2, *(len(row[i]) for row in rows)) for i in right)
    return numbers + NARROWEST_COLUMN * (len(headers) - len(right)) + 2 * (len(headers) - 1)


def columns_of(text: str) -> list[list[str]]:
    """Each column's lines, header and rule left out."""
    _, rule, *lines = text.split("\n")
    spans, start = [], 0
    for dashes in rule.split("  "):
        spans.append((start, start + len(dashes)))
        start += len(dashes) + 2
    return [[line[a:b] for line in lines] for a, b in spans]


@pytest.mark.slow
@given(tables(), st.integers(0, 120))
def test_a_table_fits_and_loses_nothing(
    given_table: tuple[list[str], list[list[str]], tuple[int, ...]], more: int
) -> None:
    headers, rows, right = given_table
    columns = least(headers, rows, right) + more
    text = table(headers, rows, columns, right=right)
    assert all(len(line) <= columns for line in text.split("\n"))
    assert text.split("\n")[0].split() == headers
    shown = ["".join("".join(lines).split()) for lines in columns_of(text)]
    assert shown == ["".join("".join(row[i] for row in rows).split()) for i in range(len(headers))]


@pytest.mark.slow
@given(st.lists(WORD, min_size=1, max_size=12), st.sampled_from([", ", " | "]), st.integers(1, 80))
def test_parts_stay_whole_and_lines_are_full(parts: list[str], separator: str, columns: int) -> None:
    lines = filled(parts, separator, columns)
    assert separator.join(lines) == separator.join(parts)
    longest = max(map(len, parts))
    assert all(len(line) <= max(columns, longest) for line in lines)
    for line, below in pairwise(lines):
        assert len(line) + len(separator) + len(below.split(separator)[0]) > columns


@given(PHRASE.filter(bool), st.integers(12, 80))
def test_wrapped_lines_fit_and_lose_nothing(text: str, columns: int) -> None:
    lines = wrapped(text, columns, "    ", "note: ")
    assert all(len(line) <= columns for line in lines)
    assert lines[0].startswith("note: ")
    assert all(line.startswith("    ") for line in lines[1:])
    assert "".join("".join(lines).split()) == "".join(("note: " + text).split())
