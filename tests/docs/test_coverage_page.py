"""docs/data/coverage.md, by tests/measure/coverage.py: what it says of a model type comes out of today's code."""

from __future__ import annotations

from typing import Any

import pytest

from graphmem.symbolic import probes
from measure.coverage import ROWS, row, try_out
from support.slow import one_of

pytestmark = pytest.mark.page

# Of every kind: decoders, encoders, both, images, sound, parts of models, and what ends with an error.
TYPES = ("albert", "gpt2", "t5", "vit", "whisper", "mamba", "mixtral", "clip", "blip_text_model", "bark", "autoformer")


@pytest.mark.parametrize("name", one_of(["autoformer"], TYPES, str))
def test_a_row_is_what_comes_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(probes, "EXPLORED", 0)  # as with --bytes
    said: list[dict[str, Any]] = []
    try_out(name, said.append, formulas=False)
    (result,) = (message for message in said if "outcome" in message)
    assert row(result) in ROWS.read_text().splitlines()
