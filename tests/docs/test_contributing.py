"""docs/contributing.md: every file that it names exists, and its recipes do what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import graphmem
from graphmem._torch import TRIED
from graphmem.cli.options import parser
from graphmem.errors import MachineError
from graphmem.kernels import registry
from graphmem.linter import rule as rules
from graphmem.linter.engine import Checker
from graphmem.machine import gpus, resolve
from graphmem.render import FORMATS
from support.floors import FLOORS
from support.repo import ROOT

PAGE = (ROOT / "docs" / "contributing.md").read_text()
RECIPES = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
PATH = re.compile(r"`([\w.]+(?:/[\w.]*)+|[\w]+\.(?:toml|md))`")
IN_A_COMMAND = re.compile(r"(?<![\w./-])(?:graphmem|tests|docs|\.ci)/[\w./]*\w")


def example(recipe: str) -> str:
    """The code of a recipe that is done as shown."""
    (code,) = re.findall(r"```python\n# as shown\n(.*?)```", RECIPES[recipe], re.S)
    return str(code)


def module(name: str, code: str) -> ModuleType:
    made = ModuleType(name)
    exec(code, vars(made))
    return made


def test_there_are_nine_recipes() -> None:
    assert len(RECIPES) == 9
    assert all("Files (" in text and "```python" in text for text in RECIPES.values())


@pytest.mark.parametrize("path", sorted({*PATH.findall(PAGE), *IN_A_COMMAND.findall(PAGE)}))
def test_every_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("recipe", RECIPES)
def test_as_many_files_as_it_says(recipe: str) -> None:
    files = RECIPES[recipe].strip().partition("\n\n")[0]
    for count, listed in re.findall(r"Files \((\d)\): (.*?)(?=Files|\Z)", files, re.S):
        assert int(count) == len(PATH.findall(listed)) + ("the place that uses it" in listed)


def test_the_map_is_the_one_that_is_checked() -> None:
    page = (ROOT / "docs" / "how_it_works.md").read_text()
    shown = re.findall(r"^\| (\d+) \| (.*?) \|", page, re.M)
    assert {int(floor): set(re.findall(r"\w+", rooms)) for floor, rooms in shown} == dict(enumerate(FLOORS))


def ruff(*words: str, code: str, file: str) -> str:
    """What ruff has to say about `code` as the content of `file`."""
    command = [sys.executable, "-m", "ruff", *words, "--stdin-filename", file, "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


# Where the examples go: a new file each, but for a line of a table.
PASTED = {
    "A kernel": "graphmem/kernels/hardswish.py",
    "A lint rule": "graphmem/linter/rules/float64_activation.py",
    "An output format": "graphmem/render/line.py",
    "A GPU": "graphmem/machine/gpus.py",
}


@pytest.mark.parametrize("recipe", PASTED)
def test_examples_are_clean_as_pasted(recipe: str) -> None:
    pytest.importorskip("ruff")
    file, code = PASTED[recipe], example(recipe)
    if (ROOT / file).exists():
        last = '        Gpu("b200"'
        line = f"        {code.rstrip()},\n"
        code = (ROOT / file).read_text().replace(last, f"{line}{last}")
        assert line in code
    assert not ruff("check", code=code, file=file)
    assert not ruff("format", "--check", "--diff", code=code, file=file)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [name for name, file in PASTED.items() if not (ROOT / file).exists()])
def test_examples_have_types(recipe: str, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "pasted.py"
    file.write_text(example(recipe))
    done = subprocess.run([sys.executable, "-m", "mypy", str(file)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_core_of_an_attention_kind_is_in_its_file() -> None:
    (core,) = re.findall(r"```python\n(.*?)```", RECIPES["An attention kind"], re.S)
    assert core in (ROOT / "graphmem" / "attention" / "varlen.py").read_text()


def test_the_releases_of_torch_are_said_alike() -> None:
    first, after = re.findall(r"2\.(\d+)", TRIED)
    assert f"torch 2.{first} to 2.{int(after) - 1}" in " ".join((ROOT / "README.md").read_text().split())
    assert f'"torch{TRIED}"' in (ROOT / "pyproject.toml").read_text()


def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError):
        resolve(gpu="gh200", device="cuda")
    gpu = eval(example("A GPU"), vars(gpus))
    monkeypatch.setitem(gpus.GPUS, gpu.key, gpu)
    assert resolve(gpu="GH-200", device="cuda").gpu is gpu
    with pytest.raises(MachineError, match="gh200"):
        resolve(gpu="no such GPU", device="cuda")


def test_a_kernel() -> None:
    operator = torch.ops.aten.hardswish.default
    made = module("graphmem.kernels.hardswish", example("A kernel"))
    corrections = registry.kernels_on("cpu").corrections
    try:
        assert corrections[operator] is made.contiguous_hardswish
        assert made.contiguous_hardswish((), torch.empty(2, 3).T).is_contiguous()
        with pytest.raises(RuntimeError, match="already"):
            module("graphmem.kernels.again", example("A kernel"))
    finally:
        del corrections[operator]


def test_a_lint_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read from its file, found on its bad example, silent on its good one, and worth what it promises."""
    file = tmp_path / "float64_activation.py"
    file.write_text(example("A lint rule"))
    monkeypatch.setattr(rules, "FOLDER", tmp_path)
    monkeypatch.setattr(rules, "all_rules", rules.all_rules.__wrapped__)
    rule = rules.find_rule("float64-activation")
    assert rule.summary == "Activations that are kept in float64."
    made = module(rule.module, file.read_text())
    monkeypatch.setitem(sys.modules, rule.module, made)

    def report(which: str, name: str) -> graphmem.Report:
        one = getattr(made, which)[name]
        return graphmem.analyze(one.build(), one.inputs())

    bad = report("BAD", "double")
    (finding,) = Checker(bad, [rule]).findings()
    assert finding.saving == bad.saved.bytes - report("FIXED", "double").saved.bytes > 0
    assert not Checker(report("GOOD", "float"), [rule]).findings()


def test_an_output_format(monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, function = re.findall(r'"(\w+)": "(\w+):(\w+)"', RECIPES["An output format"])[0]
    made = module(f"graphmem.render.{name}", example("An output format"))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setitem(FORMATS._functions, name, f"{name}:{function}")
    assert parser().parse_args(["analyze", "model.py", "--format", name]).format == name
    report = graphmem.analyze(torch.nn.Linear(8, 8), (torch.empty(4, 8),))
    assert FORMATS[name](report) == f"{report.name} keeps {report.saved.bytes:,} bytes\n"
