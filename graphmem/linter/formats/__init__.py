"""What lint found, as text. One file per format; each has a function that returns a string and prints nothing.

words.py has how they all put a finding's numbers into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmem.render.formats import Formats

if TYPE_CHECKING:
    from graphmem.linter.command import Result

FORMATS: Formats[Result] = Formats(
    __name__,
    {
        "text": "text:render",
        "json": "json:render",
        "sarif": "sarif:render",
        "github": "github:render",
        "markdown": "markdown:render",
    },
)
