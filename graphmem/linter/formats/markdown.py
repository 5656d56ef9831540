"""Findings as Markdown, for a comment on a pull request or a job's summary."""

from __future__ import annotations

from graphmem.linter.command import Result
from graphmem.linter.finding import Finding
from graphmem.linter.formats.words import headline, saving, stake, summary
from graphmem.units import human


def render(result: Result) -> str:
    """A table, then each finding with its fix."""
    lines = [f"**graphmem lint**: {_cell(summary(result))}", ""]
    if result.findings:
        lines += ["| rule | where | bytes | saves |", "| --- | --- | ---: | ---: |"]
        lines += [_row(f) for f in result.findings]
        lines += ["", "<details><summary>What to do</summary>", ""]
        lines += [line for f in result.findings for line in _about(f)]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _row(f: Finding) -> str:
    about = human(f.bytes) if f.bytes else ""
    saves = human(f.saving) if f.saving is not None else ""
    return f"| {f.rule.code} {f.rule.name} | `{f.where or f.target}` | {about} | {saves} |"


def _about(f: Finding) -> list[str]:
    lines = [f"- **{f.rule.code}** `{f.where or f.target}`: {_cell(headline(f))}. Fix: {_cell(f.fix)}."]
    numbers = [f"{label} {text}" for label, text in (("bytes", stake(f)), ("saves", saving(f))) if text]
    return lines + ([f"  {_cell('; '.join(numbers))}"] if numbers else [])


def _cell(text: str) -> str:
    """Text in which nothing is markup."""
    for sign in "\\|*_<>`":
        text = text.replace(sign, f"\\{sign}")
    return text
