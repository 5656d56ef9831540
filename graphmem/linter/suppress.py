"""`# graphmem: ignore[GM101] reason`: comments that silence rules on the line that makes a tensor."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sympy

from graphmem.linter.finding import Finding
from graphmem.linter.rule import Rule, all_rules, find_rule
from graphmem.report import Location
from graphmem.usercode.paths import is_users, shown

_COMMENT = re.compile(r"#\s*graphmem:\s*ignore\b(?:\[([^\]]*)\])?")


@dataclass(frozen=True)
class Suppression:
    """A comment: the line that it stands on, and the codes or names in it."""

    file: str
    line: int
    entries: tuple[str, ...]

    def silences(self, rule: Rule) -> bool:
        return any(entry in (rule.code, rule.name) for entry in self.entries)


@dataclass
class Suppressions:
    """All comments in the files that models ran through, and those that silenced something."""

    found: dict[str, list[Suppression]] = field(default_factory=dict)
    used: set[tuple[Suppression, str]] = field(default_factory=set)

    def read(self, files: Iterable[str]) -> None:
        """Look through further files; installed packages are left out."""
        for file in files:
            if file not in self.found and is_users(file):
                self.found[file] = _comments(file)

    def without(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings that no comment silences."""
        return [finding for finding in findings if not self._silenced(finding)]

    def _silenced(self, finding: Finding) -> bool:
        lines = set(finding.lines)
        silencing = [
            s
            for file in {file for file, _ in lines}
            for s in self.found.get(file, ())
            if (s.file, s.line) in lines and s.silences(finding.rule)
        ]
        self.used |= {
            (s, entry) for s in silencing for entry in s.entries if entry in (finding.rule.code, finding.rule.name)
        }
        return bool(silencing)

    def unused(self, rules: Sequence[Rule]) -> list[Finding]:
        """A finding of GM903 for every entry of a comment that silenced nothing though its rule is on."""
        own = next((rule for rule in rules if rule.code == "GM903"), None)
        if own is None:
            return []
        on = {name for rule in rules for name in (rule.code, rule.name)}
        known = {name for rule in all_rules() for name in (rule.code, rule.name)}
        found = []
        for s in (s for file in self.found.values() for s in file):
            if not s.entries:
                found.append(_finding(own, s, "the comment names no rule", "name it: # graphmem: ignore[GM101] reason"))
            for entry in s.entries:
                if entry not in known:
                    found.append(_finding(own, s, f"there is no rule {entry}", "graphmem rule --all lists them"))
                elif entry in on and (s, entry) not in self.used:
                    name = find_rule(entry).code
                    found.append(_finding(own, s, f"{name} has nothing to say about this line", "remove the comment"))
        return found


def _finding(rule: Rule, s: Suppression, message: str, fix: str) -> Finding:
    zero = sympy.Integer(0)
    return Finding(
        rule, shown(s.file), message, fix, "", "(the file)", ",".join(s.entries), 1, Location(shown(s.file), s.line),
        ((s.file, s.line),), {}, 0, 0, zero, None, None,
    )  # fmt: skip


def _comments(file: str) -> list[Suppression]:
    """The comments of a file; none where it cannot be read as Python."""
    try:
        with tokenize.open(file) as opened:
            text = opened.read()
        if "graphmem:" not in text:
            return []
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (OSError, SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return []
    return [
        Suppression(file, token.start[0], tuple(e.strip() for e in (match[1] or "").split(",") if e.strip()))
        for token in tokens
        if token.type == tokenize.COMMENT and (match := _COMMENT.search(token.string))
    ]
