"""A Hugging Face config.json, or a model of transformers' classes."""

from __future__ import annotations

from collections.abc import Mapping

from graphmem.load.subject import Subject


def from_config_file(
    path: str, *, settings: Mapping[str, object], task: str | None, trust_remote_code: bool
) -> Subject:
    """A Subject of the model that a config.json describes."""
    raise NotImplementedError
