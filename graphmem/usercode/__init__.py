"""The user's code: where it stands, what to call it, how to run it, and how to leave the process as it was.

home.py        the folder of a target, and the modules that its file brought along
turn.py        a block in which it runs; what it draws and changes there is put back
running.py     runs it; what it raises becomes one error with the user's line
interrupts.py  where Ctrl-C may come, and where it waits
isolate.py     keeps it apart: one analysis at a time, and what it sets globally is put back
settings.py    what another thread has to do with these settings
switches.py    which settings these are
surroundings.py  modes of torch's around it
randomness.py  puts back the random generators
garbage.py     puts off Python's garbage collection
callables.py   what to call a function of the user's, and where it stands
paths.py       whose a file is, and how its path is shown
layers.py      lists of layers, and a finished module with fewer of them
"""
