"""Findings as SARIF 2.1.0, as GitHub's code scanning takes it."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from graphmem.linter.command import Result
from graphmem.linter.finding import Finding
from graphmem.linter.formats.words import sentence
from graphmem.linter.rule import ERROR, INFO, WARNING, Rule
from graphmem.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {ERROR: "error", WARNING: "warning", INFO: "note"}


def render(result: Result) -> str:
    """One run, with the rules that were on and a result per finding."""
    index = {rule.code: i for i, rule in enumerate(result.rules)}
    driver = {
        "name": "graphmem",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in result.rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(f, index) for f in result.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "help": {"text": rule.text, "markdown": rule.text},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["memory"]},
    }


def _result(f: Finding, index: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": f.rule.code,
        "ruleIndex": index[f.rule.code],
        "level": _LEVELS[f.rule.severity],
        "message": {"text": sentence(f)},
        "locations": [_location(f)],
        # Without a line number: a mistake stays the same one when lines are added above it.
        "partialFingerprints": {"graphmem/v1": f.fingerprint},
        "properties": {"bytes": f.bytes, "expr": str(f.expr), "savingBytes": f.saving, "count": f.count},
    }
    return result


def _location(f: Finding) -> dict[str, Any]:
    """GitHub shows nothing without a file of the repository."""
    physical = {"artifactLocation": {"uri": _uri(f.here.file)}, "region": {"startLine": f.here.line}}
    location: dict[str, Any] = {"physicalLocation": physical}
    if f.module:
        location["logicalLocations"] = [{"fullyQualifiedName": f.module, "kind": "member"}]
    return location


def _uri(file: str) -> str:
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
