"""Files that know nothing of graphmem: the model's class, its config and its inputs are looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

from graphmem.load.subject import Subject


def from_plain(
    module: ModuleType,
    name_of_model: str | None,
    *,
    name: str,
    settings: Mapping[str, object],
    inputs: Sequence[str],
    config: str | None,
) -> Subject:
    """A Subject of the root module class in `module`."""
    raise NotImplementedError
