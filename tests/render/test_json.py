"""docs/json.md has every field of a report's JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphmem

ROOT = Path(__file__).resolve().parents[2]
BY_THE_USER = {"symbols", "settings", "point", "points"}  # their keys are the model's own


def fields(content: Any) -> Iterator[str]:
    if isinstance(content, list):
        for entry in content:
            yield from fields(entry)
    elif isinstance(content, dict):
        for name, value in content.items():
            yield name
            if name not in BY_THE_USER:
                yield from fields(value)


@pytest.mark.slow
def test_every_field_is_documented() -> None:
    target = str(ROOT / "samples" / "megatron_layer.py")
    content = graphmem.analyze(target, symbols={"h": 64, "a": 4, "b": 2, "s": 96}).to_dict()
    assert content["attention"][0]["instead"] is not None
    page = (ROOT / "docs" / "json.md").read_text()
    own = page.partition("## `graphmem analyze --format json`")[2].partition("\n## ")[0]
    assert set(fields(content)) <= set(re.findall(r"`(\w+)`", own))
