"""From what the user named to a `Subject`, which can be built at any values of its symbols.

subject.py  `Subject`, from two factories or from a finished module
files.py    TARGET on the command line: which of the ways below it takes
given.py    the same for the arguments of `graphmem.analyze`
names.py    names that people give to sizes and inputs, and their letters
blank.py    builds a model without its weights
discover/   files that know nothing of graphmem
hf/         a Hugging Face config.json
"""

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
