"""How to analyse: the options that every command and every call shares."""

from graphmem.how.assumptions import Assumptions
from graphmem.how.how import How, Options, read_how

__all__ = ["Assumptions", "How", "Options", "read_how"]
