"""The generated Python function compiles and does nothing else, whatever is in a name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import SymbolError, UsageError
from graphmem.render import FORMATS
from graphmem.symbolic.notes import About, Note


@pytest.fixture(scope="module")
def report() -> graphmem.Report:
    return graphmem.analyze(nn.Sequential(nn.Linear(16, 16), nn.ReLU()), (torch.randn(2, 8, 16),))


@pytest.mark.parametrize(
    "name",
    ['"""\nraise SystemExit\n"""', "a\\", 'a"', '\\"""', "\x1b\0", "a\rraise SystemExit", "\udcff", "{0}", "\\N{x}"],
    ids=ascii,
)
def test_a_name_is_text_in_the_docstring(report: graphmem.Report, name: str) -> None:
    named = replace(report, name=name, remarks=(Note(f"the formula {name}", About.FORMULA),))
    source = FORMATS["python"](named)
    assert isinstance(source, str)
    space: dict[str, object] = {}
    exec(compile(source, "generated", "exec"), space)  # that is what people do with it
    assert space.keys() == {"__doc__", "__builtins__", "math", "Fraction", "saved_bytes"}
    function = space["saved_bytes"]
    assert callable(function)
    assert function() == report.saved.bytes
    latex = FORMATS["latex"](named)
    assert isinstance(latex, str)
    assert not any(line.startswith("raise") for line in latex.splitlines())


@pytest.mark.parametrize("name", ["lambda", "s; import os", "", "1", "a b", "None"])
def test_what_cannot_be_a_symbol(name: str) -> None:
    with pytest.raises(SymbolError, match="cannot be the name of a symbol"):
        graphmem.analyze(nn.ReLU(), (torch.randn(2, 8),), symbols={name: 8})


@pytest.mark.parametrize("name", ["math", "int", "Fraction"])
def test_what_the_function_itself_uses(name: str) -> None:
    report = graphmem.analyze(nn.Sigmoid(), (torch.randn(2, 8, requires_grad=True),), symbols={name: 8})
    with pytest.raises(UsageError, match="argument of the Python function"):
        FORMATS["python"](report)


def test_markdown_of_names_is_no_markup(report: graphmem.Report) -> None:
    source = FORMATS["markdown"](replace(report, name="a|`<img>`\n# b", remarks=(Note("[x](y)\n- z"),)))
    assert isinstance(source, str)
    assert source.splitlines()[0] == r"## a\|\`\<img\>\`\\n# b"
    assert source.splitlines()[-1] == r"- \[x\](y)\\n- z"
