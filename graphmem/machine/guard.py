"""What a CPU-only build of torch lacks so that fake CUDA tensors behave as on a CUDA build.

Autograd asks the registry for a guard of every device that it meets and aborts the process where there is none. A
CPU-only build registers the CPU's guard alone. Forward on fake tensors never enters a real device, so the CPU's guard,
put into CUDA's slot as well, is all that is needed. A CUDA build needs nothing, also without a GPU.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

from graphmem.errors import MachineError

_CPU, _CUDA = 0, 1  # c10/core/DeviceType.h
_LIBRARY = {"darwin": "libc10.dylib", "win32": "c10.dll"}


@functools.cache
def ensure_cuda_guard() -> None:
    """Make fake CUDA tensors usable on this build.

    Raises:
        MachineError: a CPU-only build whose registry cannot be found.
    """
    import torch

    from graphmem._torch import DEVICE_GUARDS

    if torch.backends.cuda.is_built():
        return
    library = Path(torch.__file__).parent / "lib" / _LIBRARY.get(sys.platform, "libc10.so")
    try:
        slots = (ctypes.c_void_p * (_CUDA + 1)).in_dll(ctypes.CDLL(str(library)), DEVICE_GUARDS)
    except (OSError, ValueError):
        raise MachineError(
            f"this CPU-only build of torch {torch.__version__} has no device guard registry to put a CUDA guard in",
            where=str(library),
            hint="--device cpu, or a CUDA build of torch (it needs no GPU)",
        ) from None
    if not slots[_CUDA]:
        slots[_CUDA] = slots[_CPU]
    _register_rms_norm()


def _register_rms_norm() -> None:
    """A CUDA kernel that never runs. Because there is one, autograd treats the operator as one, as on a CUDA build."""
    import torch

    def never(*_args: object) -> None:
        raise AssertionError("fake mode answers before a kernel is asked")

    library = torch.library.Library("aten", "IMPL")
    library.impl("_fused_rms_norm", never, "CUDA")
    _libraries.append(library)  # a registration lasts as long as its Library


_libraries: list[object] = []
