"""From what the user named to a `Subject`: something that can be built at any point of its symbols."""

from graphmem.load.files import Wishes, load_target
from graphmem.load.isolate import isolated
from graphmem.load.subject import Subject, from_factories, from_module

__all__ = ["Subject", "Wishes", "from_factories", "from_module", "isolated", "load_target"]
