"""What lint found, as text. One file per format; each returns a string and prints nothing."""

from __future__ import annotations

from collections.abc import Callable

from graphmem.linter.command import Result
from graphmem.linter.formats import github, json, markdown, sarif, text

FORMATS: dict[str, Callable[[Result], str]] = {
    "text": text.render,
    "json": json.render,
    "sarif": sarif.render,
    "github": github.render,
    "markdown": markdown.render,
}
