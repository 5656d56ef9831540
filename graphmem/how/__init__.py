"""How to analyse: the options that every command and every call shares.

how.py          `Options` and `RunOptions`, as users write them, and `How`, as they are read
assumptions.py  `--assume`: values to take for granted
dtypes.py       dtypes by the names that people use
"""

from graphmem.how.assumptions import Assumptions
from graphmem.how.how import How, Options, RunOptions, read_how

__all__ = ["Assumptions", "How", "Options", "RunOptions", "read_how"]
