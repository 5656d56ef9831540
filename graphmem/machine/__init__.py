"""The machine that the analysis speaks about: which GPU, which torch, which cuDNN.

machine.py  `Machine`, from what the user asked for
gpus.py     GPUs by name
pretend.py  what `torch.cuda` answers during a trace
idle.py     streams, events and marks, on which nothing happens
guard.py    what a CPU-only build of torch lacks for fake CUDA tensors
"""

from graphmem.machine.machine import Machine, resolve

__all__ = ["Machine", "resolve"]
