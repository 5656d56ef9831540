"""Files that know nothing of graphmem: it looks for the model's class, its config and its inputs.

subject.py     from such a file to a `Subject`; start here

root.py        which class is the model
model.py       the model, and the sizes by which it can be made again
make.py        the call that makes it, each argument found or guessed
configs.py     the config that it takes
constants.py   sizes that a file keeps at top level
recipe.py      how it was made, so that it can be made again with other values
expression.py  --config, taken apart into such a recipe

spec.py        one argument of forward: idx=int64[b,s]
choices.py     what each argument may be, likeliest first
search.py      tries them until forward runs
"""

from graphmem.load.discover.subject import from_plain

__all__ = ["from_plain"]
