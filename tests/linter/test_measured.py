"""What rules promise, against what a GPU kept less with the fix; and both examples against it, storage by storage.

Results are written by tests/measure/measure_lint.py on a GPU.
"""

import collections
import functools
import json

import pytest
import torch

import graphmem
from graphmem.accounts.saved import SAVED
from graphmem.linter.engine import Checker
from graphmem.linter.rule import all_rules
from support.lint_examples import module_of
from support.lint_models import llama, llama_inputs
from support.repo import ROOT
from support.reports import MEASURED
from support.slow import one_of

RESULTS = ROOT / "tests" / "truth" / "h200_lint.json"
EXAMPLES = [(rule, name) for rule in all_rules() for name in module_of(rule).FIXED]
# What is wrong, the rule that says so, and what it is like when it is right.
ON_LLAMA = [
    ("eager", "GM101", "sdpa"),
    ("sdpa", "GM203", "sdpa, fused norm"),
    ("sdpa", "GM201", "sdpa, logits made again"),
]


def kind(example):
    """GM1 of GM101: attention, as against norms and losses."""
    return example[0].code[:3]


@functools.cache
def entries():
    return json.loads(RESULTS.read_text())["entries"]


@functools.cache
def analysed(rule, which, name):
    example = getattr(module_of(rule), which)[name]
    return graphmem.analyze(example.build(), example.inputs(), **MEASURED, **example.options)


@functools.cache
def analysed_llama(name):
    pytest.importorskip("transformers")
    with torch.device("meta"):
        return graphmem.analyze(llama(name), llama_inputs(), **MEASURED)


def compare(bad, fixed, promised, names) -> None:
    """Both reports with the entries of these names, and the promise with their difference."""
    sizes = [collections.Counter(entries()[name]["sizes"]) for name in names]
    for report, measured in zip((bad, fixed), sizes, strict=True):
        assert collections.Counter(k.nbytes for k in report.analysis.derived.kept if k.table == SAVED) == measured
    assert promised == sum(sizes[0].elements()) - sum(sizes[1].elements())


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "name"), one_of(None, EXAMPLES, kind), ids=lambda x: getattr(x, "code", x))
def test_promises_are_kept_on_a_gpu(rule, name) -> None:
    example = module_of(rule).BAD[name]
    bad, fixed = analysed(rule, "BAD", name), analysed(rule, "FIXED", name)
    findings = Checker(bad, [rule], example.lint.get("budget")).findings(example.lint.get("points", ()))
    names = (f"{rule.code} BAD {name}", f"{rule.code} FIXED {name}")
    compare(bad, fixed, sum(f.saving for f in findings), names)


@pytest.mark.parametrize(("wrong", "code", "right"), one_of(["GM201"], ON_LLAMA, lambda case: case[1]), ids=lambda x: x)
@pytest.mark.slow
def test_promises_on_a_model_of_transformers_are_kept_on_a_gpu(wrong, code, right) -> None:
    bad, fixed = analysed_llama(wrong), analysed_llama(right)
    (finding,) = (f for f in Checker(bad, all_rules()).findings() if f.rule.code == code)
    assert finding.measured
    compare(bad, fixed, finding.saving, (f"llama {wrong}", f"llama {right}"))
