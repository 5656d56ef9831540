"""`How`: the options of an analysis, made once from what the user wrote and passed on as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import torch

from graphmem.errors import UsageError, did_you_mean
from graphmem.how.assumptions import Assumptions, read_assumptions
from graphmem.how.dtypes import as_autocast, as_dtype, dtype_name
from graphmem.machine import Machine, resolve


class RunOptions(TypedDict, total=False):
    """What a real run takes too: as users write it in Python, on the command line and in pyproject.toml.

    device: "cuda", or "cpu" for what the CPU keeps.
    dtype: floating-point parameters, buffers and inputs are cast to this; None leaves them.
    autocast: the dtype, as in `torch.autocast(device, dtype)` around forward and loss.
    assume: answers where forward asks for a value that weights or activations decide: {"experts": "worst"} if all
        tokens choose the same experts (default: all experts equally often), {"model.py:88": 3} for a line.
    """

    device: str
    dtype: torch.dtype | str | None
    autocast: torch.dtype | str | None
    assume: Mapping[str, object] | None


class Options(RunOptions, total=False):
    """The options of an analysis: the same, and which machine to pretend.

    gpu: the GPU whose kernels run, such as "h100" or "sm_86:48GiB". None: the one present, else an H100.
    torch_version, cudnn_version: whose backend rules apply ("2.11", "9.19"); default: the installed torch, and the
        cuDNN that its CUDA build carries.
    full_depth: trace all layers, however many. By default graphmem does not if there are very many and the first ones
        are alike; the report says so.
    """

    gpu: str | None
    torch_version: str | None
    cudnn_version: str | None
    full_depth: bool


@dataclass(frozen=True, kw_only=True)
class How:
    """`Options`, read and checked."""

    machine: Machine
    dtype: torch.dtype | None = None
    autocast: torch.dtype | None = None
    assumptions: Assumptions = field(default_factory=Assumptions)
    full_depth: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """What was asked for beyond the machine, by option, for a headline."""
        named = (("dtype", self.dtype), ("autocast", self.autocast))
        return {name: dtype_name(dtype) for name, dtype in named if dtype is not None}


def read_how(options: Options) -> How:
    """Read and check `options`.

    Raises:
        UsageError: an option that does not exist, or a value that cannot be read.
        MachineError: an unknown GPU or device.
    """
    for name in options:
        if name not in Options.__annotations__:
            raise UsageError(f"unknown option {name!r}", hint=did_you_mean(name, Options.__annotations__))
    if not isinstance(options.get("full_depth", False), bool):
        raise UsageError(f"full_depth is True or False, not {options['full_depth']!r}", hint="full_depth=True")
    return How(
        machine=resolve(
            gpu=options.get("gpu"),
            device=options.get("device", "cuda"),
            torch_version=options.get("torch_version"),
            cudnn_version=options.get("cudnn_version"),
        ),
        dtype=as_dtype(options.get("dtype")),
        autocast=as_autocast(options.get("autocast")),
        assumptions=read_assumptions(options.get("assume") or {}),
        full_depth=options.get("full_depth", False),
    )
