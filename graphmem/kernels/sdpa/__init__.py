"""`F.scaled_dot_product_attention`: the facts of a call, the rules, the choice; `call` runs it as the machine would."""

from graphmem.kernels.sdpa.choice import Way, choose, reachable, regime

__all__ = ["Way", "choose", "reachable", "regime"]
