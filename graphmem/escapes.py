"""Text of others on its way to a terminal or a log of CI: names of modules, of files, in saved reports, in exceptions.

A terminal obeys what begins with an escape character, GitHub Actions a line that begins with `::` or has `##[`, and a
name with a newline in it writes such lines. So control characters are shown as Python writes them: \\x1b, \\n.
"""

from __future__ import annotations

import re

# C0, DEL and C1; what ends lines elsewhere; what turns the direction of text around; half a surrogate pair, which is
# how Python reads a byte of a path that is not UTF-8.
_CONTROL = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_ANY = re.compile(f"[{_CONTROL}]")
_ALL_BUT_LAYOUT = re.compile(f"[{_CONTROL}](?<![\n\t])")
_COMMANDS = re.compile(r"^(\s*):(?=:)|#(?=#\[)", re.MULTILINE)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def one_line(text: object) -> str:
    """`text` without control characters and without line ends."""
    return _ANY.sub(_escape, str(text))


def safe_text(text: str, *, commands: bool = False) -> str:
    """Whole lines, laid out by us: no control characters but line ends and tabs, and no commands to GitHub's runner.

    Args:
        commands: the text is meant for that runner, and its commands are ours.
    """
    text = _ALL_BUT_LAYOUT.sub(_escape, text)
    return text if commands else _COMMANDS.sub(lambda m: f"{m[1] or ''}\\u{ord(m[0][-1]):04x}", text)


def said(error: BaseException) -> str:
    """The message of somebody's exception, which may itself raise."""
    try:
        return str(error)
    except Exception as second:
        return f"(its message cannot be read: {type(second).__name__})"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}")
