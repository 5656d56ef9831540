"""From what the user named to a `Subject`, which can be built at any values of its symbols.

files.py      TARGET on the command line: which of the ways below it takes
given.py      the same for the arguments of `graphmem.analyze`

subject.py    `Subject`; from a finished module and its tensors
factories.py  from two functions, model() and inputs()
discover/     from a file that knows nothing of graphmem
hf/           from a Hugging Face config.json

names.py      names that people give to sizes and inputs, and their letters
blank.py      builds a model without its weights
"""

from graphmem.load.factories import from_factories
from graphmem.load.files import Wishes, load_target
from graphmem.load.given import Loss, Model, subject_of, wishes_of
from graphmem.load.subject import Subject, from_module

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
