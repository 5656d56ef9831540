"""Every format says the same of the proof."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import graphmem
from graphmem.render import FORMATS
from graphmem.report import ReportData

WORDS = ("proved: 0 bytes off", "not proved: no other", "NOT PROVED", "no formula: no size could be varied")


class Fixed(nn.Module):
    """Takes twelve numbers, and no others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(3, 4).sigmoid()


def _reports() -> dict[str, ReportData]:
    proved = graphmem.analyze(nn.Sigmoid(), torch.randn(4, 6, 8, requires_grad=True), device="cpu")
    off = replace(proved.verified, exact=False)
    return {
        "proved: 0 bytes off": proved,
        "not proved: no other": replace(proved, verified=replace(off, point=None, points=())),
        "NOT PROVED": replace(proved, verified=off),
        "no formula: no size could be varied": graphmem.analyze(Fixed(), torch.randn(3, 4, requires_grad=True)),
    }


@pytest.mark.parametrize("name", ["table", "markdown", "html", "latex", "python"])
def test_every_format_says_the_same_of_the_proof(name: str) -> None:
    for expected, report in _reports().items():
        written = FORMATS[name](report)
        assert isinstance(written, str)
        text = " ".join(written.split())
        assert [words for words in WORDS if words in text] == [expected]
        assert expected.startswith("proved") or "(proved" not in text
