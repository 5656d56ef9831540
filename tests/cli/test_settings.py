"""`[tool.graphmem]` in pyproject.toml: its keys are the options of `graphmem lint`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from graphmem.cli import main, settings
from graphmem.cli.options import actions_of, parser
from graphmem.cli.settings import with_settings
from graphmem.errors import UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pyproject.toml"


def lint(*arguments: str) -> dict[str, Any]:
    return with_settings(vars(parser().parse_args(["lint", *arguments])))


def test_the_table_gives_what_the_command_line_does_not(project: Path) -> None:
    project.write_text(
        '[tool.graphmem]\ntargets = ["model.py"]\nignore = ["GM101"]\ntorch = "2.11"\nfull-depth = true\n'
        'device = "cpu"\nset = { s = 128 }\n'
    )
    given = lint()
    assert given["targets"] == ["model.py"]
    assert given["ignore"] == ["GM101"]
    assert given["torch_version"] == "2.11"
    assert given["full_depth"] is True
    assert given["device"] == "cpu"
    assert given["set"] == ["s=128"]
    assert given["format"] == "text"
    given = lint("other.py", "--ignore", "GM2", "--torch", "2.13", "--device", "cuda", "--set", "s=8")
    assert given["targets"] == ["other.py"]
    assert given["ignore"] == ["GM2"]
    assert given["torch_version"] == "2.13"
    assert given["device"] == "cuda"
    assert given["set"] == ["s=8"]


@pytest.mark.parametrize(
    "key", ["pyproject", "output", "traceback", "write-baseline", "help", "torch_version", "trust-remote-code"]
)
def test_what_belongs_to_one_run_is_not_a_key(project: Path, key: str) -> None:
    project.write_text(f'[tool.graphmem]\n{key} = "x"\n')
    with pytest.raises(UsageError, match="has no key"):
        lint("model.py")


@pytest.mark.parametrize("value", ["true", "'yes'"])
def test_a_repository_cannot_allow_its_own_code(project: Path, value: str) -> None:
    project.write_text(f"[tool.graphmem]\ntrust-remote-code = {value}\n")
    with pytest.raises(UsageError, match="for the command line only"):
        lint("config.json")


def test_code_in_the_settings_is_for_targets_of_that_project(project: Path) -> None:
    project.write_text("[tool.graphmem]\nconfig = 'Config(h=8)'\n")
    assert lint("model.py")["config"] == "Config(h=8)"
    other = str(project.parent.parent / "model.py")
    with pytest.raises(UsageError, match="config is Python code"):
        lint(other)
    assert lint(other, "--config", "Config(h=4)")["config"] == "Config(h=4)"


def test_settings_come_from_the_repository_and_not_from_above_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text("[tool.graphmem]\nbudget = '1GiB'\n")
    inner = project.parent / "repository" / "models"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert lint("model.py")["budget"] == "1GiB"
    (inner.parent / ".git").mkdir()
    assert lint("model.py")["budget"] is None


def test_a_new_option_is_a_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/contributing.md promises it."""
    new = argparse.ArgumentParser()
    new.add_argument("--seed", type=int)
    monkeypatch.setattr(settings, "actions_of", lambda command: [*actions_of(command), *new._actions])
    project.write_text("[tool.graphmem]\nseed = 3\n")
    assert lint("model.py")["seed"] == 3
    project.write_text("[tool.graphmem]\nseed = true\n")
    with pytest.raises(UsageError, match="seed is an integer, not True"):
        lint("model.py")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("budgt = '1GiB'", "did you mean budget?"),
        ("select = 'GM1'", "select is a list of strings"),
        ("set = 3", "set is a table"),
        ("full-depth = 'yes'", "full-depth is true or false"),
        ("format = 'xml'", "one of text, json"),
        ("budget = 'much'", "--budget 40GiB"),
        ("threshold = 'x%'", "1% or 10MiB"),
        ("at = ['s']", "--at s=8192"),
        ("select = ['GM777']", "there is no rule 'GM777'"),
        ("select = ['GM1']\nignore = ['GM1']", "no rule is left to run"),
        ("device = ''", "[tool.graphmem] device = ''"),
        ("select = [", "is not TOML"),
        (f"at = {'[' * 5000}", "is not TOML: it is nested too deeply"),
        (f"at = {'1' * 5000}", "is not TOML: it has a number with too many digits"),
        ("at = ['s=²']", "--at s=8192"),
        ("baseline = 'none.json'", "--write-baseline makes one"),
    ],
)
def test_wrong_settings_are_errors_that_say_how(
    project: Path, capsys: pytest.CaptureFixture[str], table: str, says: str
) -> None:
    project.write_text(f"[tool.graphmem]\n{table}\n")
    assert main(["lint", "model.py"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("graphmem: error: ")
    assert says in err
    assert "Traceback" not in err
