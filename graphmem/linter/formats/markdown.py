"""Findings as Markdown, for a comment on a pull request or a job's summary."""

from __future__ import annotations

from graphmem.linter.command import Result
from graphmem.linter.finding import Finding
from graphmem.linter.formats.words import headline, saving, stake, summary
from graphmem.render.text import as_code, plain_markdown
from graphmem.units import human


def render(result: Result) -> str:
    """A table, then each finding with its fix."""
    lines = [f"**graphmem lint**: {plain_markdown(summary(result))}", ""]
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
    return f"| {f.rule.code} {f.rule.name} | {as_code(f.where or f.target)} | {about} | {saves} |"


def _about(f: Finding) -> list[str]:
    said, fix = plain_markdown(headline(f)), plain_markdown(f.fix)
    lines = [f"- **{f.rule.code}** {as_code(f.where or f.target)}: {said}. Fix: {fix}."]
    numbers = [f"{label} {text}" for label, text in (("bytes", stake(f)), ("saves", saving(f))) if text]
    return lines + ([f"  {plain_markdown('; '.join(numbers))}"] if numbers else [])
