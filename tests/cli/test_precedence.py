"""What the command line says comes before what pyproject.toml says, also where that is 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphmem.cli.options import parser
from graphmem.cli.settings import with_settings


@pytest.mark.parametrize(
    ("arguments", "threshold"), [(["--threshold", "0"], "0"), (["--threshold", "2%"], "2%"), ([], "7%")]
)
def test_the_command_line_comes_first(arguments: list[str], threshold: str, tmp_path: Path) -> None:
    settings = tmp_path / "pyproject.toml"
    settings.write_text('[tool.graphmem]\ntargets = ["a.py"]\nthreshold = "7%"\nfull-depth = true\n')
    given = with_settings(vars(parser().parse_args(["lint", "--pyproject", str(settings), *arguments])))
    assert given["threshold"] == threshold
    assert given["targets"] == ["a.py"]
    assert given["full_depth"] is True
