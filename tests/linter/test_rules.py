"""Every rule on its own examples: it speaks on the bad ones, is silent on the good ones, and keeps its promise."""

import functools

import pytest

from graphmem.linter.engine import Checker
from graphmem.linter.rule import SEVERITIES, all_rules
from support.lint_examples import analysed, module_of
from support.repo import ROOT
from support.slow import one_of

RULES = all_rules()


def examples(which, digits):
    """(rule, which, name) of all of them; fast is the first of those whose codes begin with the same digits."""
    all_of_them = [(rule, which, name) for rule in RULES for name in getattr(module_of(rule), which)]
    cases = one_of(None, all_of_them, lambda example: example[0].code[: 2 + digits])
    return pytest.mark.parametrize(("rule", "which", "name"), cases, ids=lambda x: getattr(x, "code", x))


@functools.cache
def found(rule, which, name):
    example = getattr(module_of(rule), which)[name]
    checker = Checker(analysed(rule, which, name), [rule], example.lint.get("budget"))
    return checker.findings(example.lint.get("points", ()))


@examples("BAD", digits=1)
def test_bad_examples_are_found(rule, which, name) -> None:
    findings = found(rule, which, name)
    assert findings
    assert any(f.saving is not None for f in findings) == (name in module_of(rule).FIXED), "a promise has an example"
    for f in findings:
        assert f.message
        assert f.fix
        assert not f.message.endswith(".")
        assert not f.fix.endswith(".")
    assert all(f.bytes > 0 for f in findings)
    assert all(f.expr.subs({s: f.point[s.name] for s in f.expr.free_symbols}) == f.bytes for f in findings)


@pytest.mark.slow
@examples("GOOD", digits=3)
def test_good_examples_are_not(rule, which, name) -> None:
    assert found(rule, which, name) == []


@examples("FIXED", digits=1)
def test_the_promised_saving_is_what_the_fixed_model_keeps_less(rule, which, name) -> None:
    bad, fixed = analysed(rule, "BAD", name), analysed(rule, "FIXED", name)
    promised = [f.saving for f in found(rule, "BAD", name)]
    assert sum(promised) == bad.saved.bytes - fixed.saved.bytes


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_rules_say_what_they_are(rule) -> None:
    module = module_of(rule)
    constants = (module.CODE, module.NAME, module.SEVERITY, module.DEFAULT)
    assert constants == (rule.code, rule.name, rule.severity, rule.default)
    assert getattr(module, "YIELDS_TO", ()) == rule.yields_to
    assert getattr(module, "ALWAYS", False) == rule.always
    assert rule.severity in SEVERITIES
    assert rule.name.replace("-", "_") == rule.module.rpartition(".")[2]
    assert rule.summary.endswith(".")
    for heading in ("**Why is this bad?**", "**Use instead**"):
        assert heading in rule.text
    assert set(rule.yields_to) <= {r.code for r in RULES}


def test_codes_and_names_are_used_once() -> None:
    assert len({r.code for r in RULES}) == len({r.name for r in RULES}) == len(RULES)


def test_the_rules_are_in_the_folder() -> None:
    assert len(RULES) == len(list((ROOT / "graphmem" / "linter" / "rules").glob("[a-z]*.py")))
