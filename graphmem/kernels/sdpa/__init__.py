"""`F.scaled_dot_product_attention`: the facts of a call, the rules, the choice; `call` runs it as the machine would."""

from graphmem.kernels.sdpa.choice import Way, choose, reachable, regime
from graphmem.kernels.sdpa.facts import four_dims
from graphmem.kernels.sdpa.rules import without_mask

__all__ = ["Way", "choose", "four_dims", "reachable", "regime", "without_mask"]
