"""What a run was, as facts: everybody reads them, only `graphmem.trace` writes them.

trace.py  operators, storages, module calls, and who keeps what
sdpa.py   the arguments of a call of scaled_dot_product_attention, as far as they decide its kernel
flow.py   the same as a graph of who feeds whom
paths.py  the paths of its modules: numbers of layers, what is inside what
fx.py     the same as a `torch.fx.Graph`
"""

from graphmem.record.sdpa import SdpaFacts
from graphmem.record.trace import (
    CHECKPOINT,
    MARK,
    NO_NODE,
    UNREACHED,
    Call,
    Keep,
    Left,
    Op,
    Place,
    Ref,
    SdpaCall,
    Storage,
    TensorFact,
    Trace,
    UnknownValueError,
    references,
    references_in,
    saves_what_it_overwrites,
)

__all__ = [
    "CHECKPOINT",
    "MARK",
    "NO_NODE",
    "UNREACHED",
    "Call",
    "Keep",
    "Left",
    "Op",
    "Place",
    "Ref",
    "SdpaCall",
    "SdpaFacts",
    "Storage",
    "TensorFact",
    "Trace",
    "UnknownValueError",
    "references",
    "references_in",
    "saves_what_it_overwrites",
]
