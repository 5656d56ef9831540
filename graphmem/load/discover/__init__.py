"""Files that know nothing of graphmem: it looks for the model's class, its config and its inputs."""

from graphmem.load.discover.subject import from_plain

__all__ = ["from_plain"]
