"""The user's code: where it stands, what to call it, how to run it, and how to leave the process as it was.

running.py     runs it; what it raises becomes one error with the user's line
isolate.py     puts back what it sets globally
randomness.py  puts back the random generators
garbage.py     puts off Python's garbage collection
callables.py   what to call a function of the user's, and where it stands
paths.py       whose a file is, and how its path is shown
layers.py      lists of layers, and a finished module with fewer of them
"""
