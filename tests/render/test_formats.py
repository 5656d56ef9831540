"""One table of formats for each command: the command line offers what is in it, and a format is text or bytes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graphmem.cli.files import write
from graphmem.cli.options import parser
from graphmem.errors import UsageError
from graphmem.linter.formats import FORMATS as LINT_FORMATS
from graphmem.render import DIFF_FORMATS, FIT_FORMATS, FORMATS
from graphmem.render.formats import Formats
from graphmem.validation.output import FORMATS as VALIDATION_FORMATS

TABLES = {
    "analyze": FORMATS,
    "fit": FIT_FORMATS,
    "diff": DIFF_FORMATS,
    "validate": VALIDATION_FORMATS,
    "lint": LINT_FORMATS,
}


def choices(command: str) -> tuple[str, ...]:
    """What --help offers for --format."""
    (commands,) = (action for action in parser()._actions if isinstance(action.choices, dict))
    (option,) = (a for a in commands.choices[command]._actions if "--format" in a.option_strings)
    return tuple(option.choices)


@pytest.mark.parametrize("command", TABLES)
def test_the_command_line_offers_the_table(command: str) -> None:
    assert choices(command) == tuple(TABLES[command])


@pytest.mark.parametrize("command", TABLES)
def test_every_format_has_its_function(command: str) -> None:
    formats: Formats[Any] = TABLES[command]
    assert all(callable(formats[name]) for name in formats)


def test_another_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own file and its line in the table: no list has to be kept in step."""
    module = ModuleType("graphmem.render.words")
    module.render = lambda report: f"{report.name} keeps {report.saved.bytes} bytes\n"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "graphmem.render.words", module)
    monkeypatch.setitem(FORMATS._functions, "words", "words:render")
    assert choices("analyze")[-1] == "words"
    assert FORMATS["words"] is module.render


def test_bytes_are_written_as_they_are(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    content = bytes(range(256))
    write(content, str(tmp_path / "picture"))
    assert (tmp_path / "picture").read_bytes() == content
    write(content, None)
    assert capfdbinary.readouterr().out == content


def test_bytes_do_not_go_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(UsageError, match="not text for a terminal"):
        write(b"\x00", None)
    assert terminal.getvalue() == ""
