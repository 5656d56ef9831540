"""What fake mode cannot decide by itself: which kernel the machine would run, and what that returns.

    registry.py   the one table of it, and the decorators by which the files of this room enter what they know
    run_as_on.py  the mode in which torch's functions run as on the machine
    moves.py      moves to a GPU without a number, which torch would look up in C++
    sdpa/         scaled_dot_product_attention: the rules of each backend, the choice, the call
    flex.py       flex_attention; it replaces the method of a class, so it has a context of its own

Every other file is one kernel, or a few that are alike. To add one: write its file with a decorator of the registry,
cite the source in torch, and name the file in the import below.
"""

from graphmem.kernels import batch_norm, contiguous, ctc, grouped_mm, norms, recurrent
from graphmem.kernels.sdpa import call

__all__ = ["batch_norm", "call", "contiguous", "ctc", "grouped_mm", "norms", "recurrent"]
