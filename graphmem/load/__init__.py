"""From what the user named to a `Subject`, which can be built at any values of its symbols. See README.md."""

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
