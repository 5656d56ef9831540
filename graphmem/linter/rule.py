"""What a rule is, read from its file without running it: explaining rules must not import torch.

A rule is a file in `graphmem/linter/rules`. It has

- a docstring: a first line that says what is found, then sections with a heading in bold: "Why is this bad?",
  "Example", "Use instead", "Sources". `graphmem rule`, docs/rules and SARIF's help are made of it;
- CODE, NAME, SEVERITY, DEFAULT (whether it is on unless asked for), ALWAYS (reported however small it is), and
  YIELDS_TO: codes of rules that say more about the same module;
- `check(context)`, which yields a `Spot` for every place of the mistake;
- BAD and GOOD, examples on which it reports and is silent, and FIXED, which has for bad ones the model with the mistake
  corrected. The tests take them from there: a finding's saving is how much less the fixed model keeps, to the byte.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from graphmem.errors import UsageError, closest

ERROR, WARNING, INFO = "error", "warning", "info"
SEVERITIES = (ERROR, WARNING, INFO)
FOLDER = Path(__file__).parent / "rules"


@dataclass(frozen=True)
class Rule:
    """A rule as its file describes it.

    code: GMxxx, never used again. name: the same for people; reads as "allow ...". summary: the docstring's first line.
    text: the rest of the docstring, as Markdown.
    """

    code: str
    name: str
    severity: str
    default: bool
    always: bool
    yields_to: tuple[str, ...]
    summary: str
    text: str
    module: str

    def check(self, context: Any) -> Iterator[Any]:
        """Every place of the mistake in what `context` shows, as a `Spot`."""
        return import_module(self.module).check(context)  # type: ignore[no-any-return]


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, by code."""
    rules = [_read(file) for file in sorted(FOLDER.glob("*.py")) if file.stem != "__init__"]
    return tuple(sorted(rules, key=lambda rule: rule.code))


def find_rule(given: str) -> Rule:
    """A rule by code or name.

    Raises:
        UsageError: there is no such rule.
    """
    for rule in all_rules():
        if given.upper() == rule.code or given.lower() == rule.name:
            return rule
    known = [text for rule in all_rules() for text in (rule.code, rule.name)]
    guess = closest(given.upper(), known) or closest(given.lower(), known)
    raise UsageError(f"there is no rule {given!r}", hint=f"{guess}graphmem rule --all lists them")


def chosen_rules(select: Iterable[str], extend: Iterable[str], ignore: Iterable[str]) -> tuple[Rule, ...]:
    """The rules that are on. Each entry is a code, the beginning of one (GM1), a name, or ALL.

    Raises:
        UsageError: an entry fits no rule.
    """
    select = list(select)
    on = {r.code for r in all_rules() if r.default} if not select else _matching(select)
    on = (on | _matching(extend)) - _matching(ignore)
    return tuple(rule for rule in all_rules() if rule.code in on)


def _matching(entries: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for entry in entries:
        beginning = "GM" if entry.upper() == "ALL" else entry.upper()
        codes = {r.code for r in all_rules() if beginning.startswith("GM") and r.code.startswith(beginning)}
        found |= codes or {find_rule(entry).code}
    return found


def _read(file: Path) -> Rule:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    doc = ast.get_docstring(tree) or ""
    constants: dict[str, Any] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        names = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
        if names and all(isinstance(n, ast.Name) and n.id in _CONSTANTS for n in names):
            assert isinstance(node, ast.Assign)
            value = ast.literal_eval(node.value)
            values = value if isinstance(targets[0], ast.Tuple) else [value]
            constants.update((n.id, v) for n, v in zip(names, values, strict=True) if isinstance(n, ast.Name))
    summary, _, text = doc.partition("\n\n")
    return Rule(
        code=constants["CODE"],
        name=constants["NAME"],
        severity=constants["SEVERITY"],
        default=constants["DEFAULT"],
        always=constants.get("ALWAYS", False),
        yields_to=tuple(constants.get("YIELDS_TO", ())),
        summary=" ".join(summary.split()),
        text=text,
        module=f"graphmem.linter.rules.{file.stem}",
    )


_CONSTANTS = ("CODE", "NAME", "SEVERITY", "DEFAULT", "ALWAYS", "YIELDS_TO")
