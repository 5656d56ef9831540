"""In which order torch tries the backends: by release, cuDNN, GPU, environment, and what the model's code has set."""

from __future__ import annotations

import os

import torch

from graphmem._torch import sdpa_priority_order
from graphmem.machine import Machine

# at::SDPBackend in aten/src/ATen/SDPBackend.h
_BY_NUMBER = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}
_FLASH_FIRST = ("flash", "efficient", "math", "cudnn")  # sdp_priority_order in aten/src/ATen/Context.h
_CUDNN_FIRST = ("cudnn", "flash", "efficient", "math")  # priority_order in sdp_utils.cpp

_ENABLED = {
    "flash": torch.backends.cuda.flash_sdp_enabled,
    "efficient": torch.backends.cuda.mem_efficient_sdp_enabled,
    "cudnn": torch.backends.cuda.cudnn_sdp_enabled,
    "math": torch.backends.cuda.math_sdp_enabled,
}


def order(machine: Machine, unset: tuple[int, ...]) -> tuple[str, ...]:
    """The backends as torch would try them.

    Args:
        unset: `sdpa_priority_order()` before the model ran. On a machine with a GPU torch has written the
            order for that GPU there, so a comparison with the default would not tell who wrote it.
    """
    current = tuple(sdpa_priority_order())
    names = tuple(_BY_NUMBER[n] for n in current if n in _BY_NUMBER)
    if current != unset or names not in (_FLASH_FIRST, _CUDNN_FIRST):
        return names  # sdpa_kernel(..., set_priority=True)
    return _CUDNN_FIRST if prefers_cudnn(machine) else _FLASH_FIRST


def prefers_cudnn(machine: Machine) -> bool:
    """check_prefer_cudnn_attention in sdp_utils.cpp, by release.

    2.5.0: on by default on Hopper with cuDNN 9; taken back in 2.5.1 (https://github.com/pytorch/pytorch/pull/138522),
    with TORCH_CUDNN_SDPA_PREFERRED=1 as the way to ask for it.
    2.9: on for sm90 and sm100 with cuDNN 9.9 (https://github.com/pytorch/pytorch/pull/162073); the same variable at 0
    switches it off.
    2.10: only with cuDNN after 9.15.0 (https://github.com/pytorch/pytorch/pull/171627).
    2.11: the variable is TORCH_CUDNN_SDPA_DEPRIORITIZED.
    """
    major = machine.gpu.capability[0]
    wished = os.environ.get("TORCH_CUDNN_SDPA_PREFERRED")
    if machine.torch[:2] < (2, 9):
        by_default = machine.torch == (2, 5, 0)
        return major == 9 and machine.cudnn >= 90000 and (by_default or wished == "1")
    if major not in (9, 10):
        return False
    if machine.torch[:2] < (2, 10):
        return wished != "0" and machine.cudnn >= 90900 and machine.gpu.capability[1] == 0
    if machine.torch[:2] < (2, 11):
        return wished != "0" and machine.cudnn > 91500
    return os.environ.get("TORCH_CUDNN_SDPA_DEPRIORITIZED") != "1" and machine.cudnn > 91500


def disabled() -> frozenset[str]:
    """The backends that are switched off at the moment."""
    return frozenset(name for name, enabled in _ENABLED.items() if not enabled())
