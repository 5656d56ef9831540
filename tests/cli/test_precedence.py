"""The command line as it is read: options on both sides of TARGET, and before what pyproject.toml says."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphmem.cli.options import actions_of, parser
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


@pytest.mark.parametrize(
    "words",
    [
        ["model.py", "--sweep", "s=4,8", "b=1,2"],
        ["model.py", "--sweep", "s=4,8", "--sweep", "b=1,2"],
        ["--sweep", "s=4,8", "b=1,2", "model.py"],
        ["--sweep=s=4,8", "b=1,2", "model.py"],
        ["--sw", "s=4,8", "b=1,2", "model.py"],
        ["--sweep", "s=4,8", "--sweep", "b=1,2", "model.py"],
        ["--sweep", "s=4,8", "b=1,2", "--steps", "1", "model.py"],
        ["--sweep", "s=4,8", "b=1,2", "--", "model.py"],
    ],
    ids=" ".join,
)
def test_a_sweep_leaves_the_target(words: list[str]) -> None:
    given = parser().parse_args(["validate", *words])
    assert given.target == "model.py"
    assert given.sweep == ["s=4,8", "b=1,2"]


def test_no_option_takes_a_list_of_words() -> None:
    """argparse would give it TARGET, too."""
    for command in ("analyze", "fit", "diff", "validate", "lint", "rule"):
        assert not [a.option_strings for a in actions_of(command) if a.option_strings and a.nargs in ("+", "*")]
