"""`F.scaled_dot_product_attention` as the machine would run it.

facts.py   what the choice depends on, read off a call
order.py   in which order torch tries the backends
rules.py   which calls each backend refuses
choice.py  the backend that runs, and the best one that could
call.py    runs it
"""

from graphmem.kernels.sdpa.choice import Way, choose, reachable, regime
from graphmem.kernels.sdpa.facts import four_dims
from graphmem.kernels.sdpa.rules import without_mask

__all__ = ["Way", "choose", "four_dims", "reachable", "regime", "without_mask"]
