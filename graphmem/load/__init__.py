"""From what the user named to a `Subject`: something that can be built at any point of its symbols."""

from graphmem.load.files import Wishes, load_target
from graphmem.load.given import Loss, Model, subject_of, wishes_of
from graphmem.load.subject import Subject, from_factories, from_module

__all__ = [
    "Loss",
    "Model",
    "Subject",
    "Wishes",
    "from_factories",
    "from_module",
    "load_target",
    "subject_of",
    "wishes_of",
]
