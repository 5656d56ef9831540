"""One forward on fake tensors, written down: operators, storages, and what autograd keeps of them."""

from graphmem.trace.forward import trace
from graphmem.trace.record import Call, Keep, Op, Place, Ref, Storage, TensorFact, Trace

__all__ = ["Call", "Keep", "Op", "Place", "Ref", "Storage", "TensorFact", "Trace", "trace"]
