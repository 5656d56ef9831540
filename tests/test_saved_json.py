"""JSON of others is read or refused, whatever is in it."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from graphmem import saved_json
from graphmem.saved_json import is_readable_twice, is_size, parse, read_text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        ('{"x": ' + "1" * 5000 + "}", "too many digits"),
        ('{"x": Infinity}', "Infinity"),
        ("[NaN]", "NaN"),
    ],
    ids=["lists", "dicts", "digits", "Infinity", "NaN"],
)
def test_what_no_program_should_have_written_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_no_json_says_where() -> None:
    with pytest.raises(json.JSONDecodeError) as error:
        parse('{"a": 1,\n}')
    assert error.value.lineno == 2


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a system without /dev/zero")
def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        read_text("/dev/zero", limit=2**20)


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match="UTF-8"):
        read_text(tmp_path / "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_into_which_nobody_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_json, "_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="nobody wrote into it"):
        read_text(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_whose_writer_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_json, "_SECONDS", 0.3)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("w") as file:
            time.sleep(0.6)
            file.write("first ")
            file.flush()
            time.sleep(0.1)
            file.write("second")

    thread = threading.Thread(target=write)
    thread.start()
    assert read_text(pipe) == "first second"
    thread.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    assert not is_readable_twice(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("[1]",))
    writer.start()
    assert parse(read_text(pipe)) == [1]
    writer.join()


@pytest.mark.parametrize("value", [True, -1, 1.0, "1", None, 10**400, float("inf")])
def test_what_is_not_a_size(value: object) -> None:
    assert not is_size(value)
    assert is_size(0)
    assert is_size(2**62)
