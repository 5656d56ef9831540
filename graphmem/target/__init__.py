"""The machine that the analysis speaks about: which GPU, which torch, which cuDNN."""

from graphmem.target.machine import Target, resolve

__all__ = ["Target", "resolve"]
