"""The machine that the analysis speaks about: which GPU, which torch, which cuDNN."""

from graphmem.machine.machine import Machine, resolve

__all__ = ["Machine", "resolve"]
