"""One forward on fake tensors, written down as a `graphmem.record.Trace`."""

from graphmem.trace.forward import trace

__all__ = ["trace"]
