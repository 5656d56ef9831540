"""A report is written as a whole, by way of a new file, wherever -o points."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from graphmem.cli.files import check_output, write
from graphmem.errors import UsageError


def test_a_file_that_somebody_put_there_is_left_alone(tmp_path: Path) -> None:
    """The name of the file on the way cannot be known before."""
    victim, report = tmp_path / "victim", tmp_path / "report.json"
    victim.write_text("precious")
    for name in (".report.json.partial", "report.json.tmp", ".graphmem-", ".graphmem-report.json"):
        (tmp_path / name).symlink_to(victim)
    write("new", str(report))
    assert victim.read_text() == "precious"
    assert report.read_text() == "new"
    assert not report.is_symlink()


def test_a_link_that_was_named_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write("new", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


def test_a_pipe_that_nobody_reads_is_an_error(tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="nobody reads from this pipe"):
        write("new", str(tmp_path / "pipe"))
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write("new", str(tmp_path / "pipe"))
    assert os.read(reader, 10) == b"new"
    os.close(reader)


def test_names_as_long_as_the_system_takes(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 255)
    write("new", str(file))
    assert file.read_text() == "new"
    for name in ("x" * 256, "x" * 5000, "a\0b"):
        with pytest.raises(UsageError, match="cannot write"):
            write("new", str(tmp_path / name))
        check_output(str(tmp_path / name))  # an error of usage, or none; never another
    assert [f.name for f in tmp_path.iterdir()] == [file.name]


def test_halves_of_surrogates_are_written(tmp_path: Path) -> None:
    """The name of a file that is not UTF-8 has them."""
    write("m\udcff.py ²", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text(encoding="utf-8") == "m\\udcff.py ²"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    file = tmp_path / "out"
    file.write_text("old")

    def fails(*_args: object) -> None:
        raise error

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises((UsageError, KeyboardInterrupt)):
        write("new", str(file))
    assert [f.name for f in tmp_path.iterdir()] == ["out"]
    assert file.read_text() == "old"


def test_permissions_are_those_of_the_file_before_or_of_any_new_one(tmp_path: Path) -> None:
    old, new, other = tmp_path / "old", tmp_path / "new", tmp_path / "other"
    old.write_text("")
    old.chmod(0o640)
    other.write_text("")
    write("x", str(old))
    write("x", str(new))
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
def test_a_full_disk_is_an_error_of_usage() -> None:
    with pytest.raises(UsageError, match="cannot write /dev/full"):
        write("x", "/dev/full")


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="a system without /dev/stdout")
def test_stdout_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    write("x²", "/dev/stdout")
    assert capfd.readouterr().out == "x²"
