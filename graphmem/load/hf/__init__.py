"""Targets that are a Hugging Face `config.json`: the model without weights, and inputs as it is trained with.

subject.py    from a config.json to a `Subject`; start here
file.py       reads it: which class of transformers it is for, and code of its own
config.py     its integers by their letters, and the config at other values
letters.py    which integers are sizes, and their letters
making.py     how transformers makes a config
layers.py     layers of several kinds, each with a symbol
tasks.py      which class it means, and what labels that trains with
inputs.py     the inputs of that class
arguments.py  every argument of forward that graphmem can make
tensors.py    the tensors of these, with sizes from the config
quietly.py    transformers without warnings and network
"""
