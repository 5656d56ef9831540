"""Rules for people: `graphmem rule GM101`, and the pages in docs/rules. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence

from graphmem.linter.rule import Rule


def explained(rule: Rule) -> str:
    """Everything about a rule, as Markdown."""
    on = "on" if rule.default else f"off unless asked for (`--extend-select {rule.code}`)"
    title = f"# {rule.name} ({rule.code})"
    facts = f"{rule.severity}, {on}"
    return f"{title}\n\n{facts}\n\n{rule.summary}\n\n{rule.text.strip()}\n"


def listed(rules: Sequence[Rule]) -> str:
    """A line for each rule."""
    width = max(len(rule.name) for rule in rules)
    lines = [
        f"{rule.code}  {rule.name:<{width}}  {rule.severity:<7}  {'on ' if rule.default else 'off'}  {rule.summary}"
        for rule in rules
    ]
    return "\n".join(lines) + "\n"


def index(rules: Sequence[Rule]) -> str:
    """The table of all rules in docs/rules/README.md."""
    head = "# Rules\n\nGenerated from graphmem/linter/rules: `pytest tests/docs/test_rule_docs.py --overwrite`.\n\n"
    rows = ["| code | name | severity | | what it finds |", "| --- | --- | --- | --- | --- |"]
    rows += [
        f"| [{r.code}]({r.code}.md) | {r.name} | {r.severity} | {'on' if r.default else 'off'} | {r.summary} |"
        for r in rules
    ]
    return head + "\n".join(rows) + "\n"
