"""Files that know nothing of graphmem: the model's class, its config and its inputs are looked for."""

from graphmem.load.discover.subject import from_plain

__all__ = ["from_plain"]
