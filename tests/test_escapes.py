"""Names go to a terminal and to a log of CI without what these obey."""

from __future__ import annotations

import json

import pytest

from graphmem.errors import GraphmemError
from graphmem.escapes import one_line, safe_text, said


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31m", "a\\x1b[31m"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("a\x9b31m\x7f", "a\\u009b31m\\u007f"),
        ("a\u202eb\u2028", "a\\u202eb\\u2028"),
        ("m\udcff.py", "m\\udcff.py"),
        ("5as²b · × blocks.*.attn", "5as²b · × blocks.*.attn"),
    ],
)
def test_a_name_is_one_line_that_a_terminal_only_shows(name: str, shown: str) -> None:
    assert one_line(name) == shown
    assert one_line(GraphmemError(f"no {name}", hint="none").what) == f"no {shown}"


@pytest.mark.parametrize("line", ["::error file=x::y", "   ::stop-commands::x", "a\n\t::debug::x", "##[error]x"])
def test_no_line_is_a_command_to_the_runner_of_github(line: str) -> None:
    """It takes a line that begins with ::, after white space, and ##[ wherever it stands."""
    safe = safe_text(line)
    assert not any(part.lstrip().startswith("::") for part in safe.splitlines())
    assert "##[" not in safe
    assert safe_text(line, commands=True) == line


def test_layout_stays_and_json_means_the_same() -> None:
    data = {"name": "a\x1b\n\x9b\u202e##[error]::x", "other": "aten::mm"}
    text = json.dumps(data, indent=2, ensure_ascii=False)
    assert json.loads(safe_text(text)) == data
    assert safe_text("a\n\tb aten::mm\n") == "a\n\tb aten::mm\n"


def test_an_exception_whose_message_raises() -> None:
    class Bad(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert "ZeroDivisionError" in said(Bad())


def test_what_a_message_quotes_is_cut() -> None:
    assert len(GraphmemError("x" * 10_000).what) < 600
