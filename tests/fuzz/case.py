"""A case: what is in the folder, what is called, and which exit codes are right."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ANY = frozenset({0, 1, 2})
REFUSED = frozenset({2})
# A model of which every analysis takes a tenth of a second.
MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, h=16, f=32):
        super().__init__()
        self.up, self.down = nn.Linear(h, f), nn.Linear(f, h)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


def model(h=16, f=32):
    return Net(h, f)


def inputs(b=2, s=8, h=16):
    return (torch.randn(b, s, h),)
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input of graphmem's.

    files: contents by path; a link is "-> target", a folder "/", a named pipe "|". arguments: of the command line; or,
    where `library`, the name of the file of which `build()` returns a module and its inputs. codes: the exit codes that
    are right. outputs: paths that may be written. interrupt: after so many seconds Ctrl-C comes.
    """

    kind: str
    seed: int
    files: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...]
    codes: frozenset[int] = ANY
    outputs: frozenset[str] = frozenset()
    library: bool = False
    interrupt: float | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}"

    def write(self, folder: Path) -> None:
        """Put the files there. Surrogates stand for bytes that are no text."""
        for path, content in self.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("-> "):
                place.symlink_to(content[3:])
            elif content == "/":
                place.mkdir(exist_ok=True)
            elif content == "|":
                os.mkfifo(place)
            else:
                place.write_bytes(content.encode("utf-8", "surrogateescape"))

    def to_json(self) -> str:
        """As in found/."""
        written = {**vars(self), "codes": sorted(self.codes), "outputs": sorted(self.outputs)}
        return json.dumps(written, indent=1) + "\n"


def case_of(text: str) -> Case:
    """The case that `to_json` wrote."""
    read = json.loads(text)
    lists = {"arguments": tuple(read["arguments"]), "codes": frozenset(read["codes"])}
    return Case(**{**read, **lists, "outputs": frozenset(read["outputs"])})
