"""Annotations of GitHub Actions: one line per finding, the worst first, since GitHub shows ten of a kind per step. A
finding in an installed package is shown on the user's line that leads there."""

from __future__ import annotations

from graphmem.escapes import one_line
from graphmem.linter.command import Result
from graphmem.linter.finding import Finding
from graphmem.linter.formats.words import sentence, summary
from graphmem.linter.rule import ERROR, INFO, WARNING

_COMMANDS = {ERROR: "error", WARNING: "warning", INFO: "notice"}


def render(result: Result) -> str:
    """`::error title=..,file=..,line=..::message`, and the summary as plain text."""
    return "\n".join([*map(_annotation, result.findings), one_line(summary(result))]) + "\n"


def _annotation(finding: Finding) -> str:
    rule = finding.rule
    properties = {"title": f"graphmem {rule.code} ({rule.name})"}
    properties |= {"file": finding.here.file, "line": str(finding.here.line)}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[rule.severity]} {written}::{_message(sentence(finding))}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
