"""A baseline: findings that are known and left as they are, without line numbers, so that it survives edits."""

from __future__ import annotations

import json
from collections.abc import Sequence

from graphmem.errors import UsageError
from graphmem.linter.finding import Finding
from graphmem.saved_json import is_size, parse, read_text
from graphmem.version import __version__

FORMAT = 1
DEFAULT_FILE = "graphmem-baseline.json"
_HINT = "--write-baseline makes one"


def baseline_text(findings: Sequence[Finding]) -> str:
    """The findings as a file, sorted, so that changes are small."""
    entries = [
        {
            "rule": f.rule.code,
            "target": f.target,
            "module": f.module,
            "what": f.what,
            "bytes": f.weight,
            "fingerprint": f.fingerprint,
        }
        for f in sorted(findings, key=lambda f: (f.target, f.rule.code, f.module, f.what, f.number))
    ]
    return json.dumps({"format": FORMAT, "graphmem": __version__, "findings": entries}, indent=2) + "\n"


def read_baseline(file: str) -> dict[str, int]:
    """Fingerprint -> bytes of what is known.

    Raises:
        UsageError: the file cannot be read, or is not a baseline.
    """
    try:
        content = parse(read_text(file))
    except OSError as error:
        raise UsageError(f"cannot read the baseline {file}: {error.strerror}", hint=_HINT) from error
    except ValueError as error:
        raise UsageError(f"{file} is not a baseline: it is not JSON ({error})", hint=_HINT) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{file} is not a baseline of format {FORMAT}", hint=_HINT)
    entries = content.get("findings")
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise UsageError(f"{file} is not a baseline: an entry has no fingerprint or no bytes", hint=_HINT)
    return {entry["fingerprint"]: entry["bytes"] for entry in entries}


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("fingerprint"), str) and is_size(value.get("bytes"))


def is_known(finding: Finding, baseline: dict[str, int]) -> bool:
    """Whether a finding is in the baseline and has not grown since."""
    return finding.weight <= baseline.get(finding.fingerprint, -1)
