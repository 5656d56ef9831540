"""GPUs by name: compute capability, memory, and what torch calls them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphmem.errors import MachineError, did_you_mean
from graphmem.units import human, parse_bytes


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU. `memory` is what the vendor prints on the box, in bytes; `sms` counts multiprocessors, where
    that is known."""

    key: str
    name: str
    capability: tuple[int, int]
    memory: int
    sms: int | None


GIB = 2**30
# Compute capabilities: https://developer.nvidia.com/cuda-gpus
GPUS = {
    gpu.key: gpu
    for gpu in (
        Gpu("h100", "NVIDIA H100 80GB HBM3", (9, 0), 80 * GIB, 132),
        Gpu("h200", "NVIDIA H200", (9, 0), 141 * GIB, 132),
        Gpu("a100", "NVIDIA A100-SXM4-80GB", (8, 0), 80 * GIB, 108),
        Gpu("l4", "NVIDIA L4", (8, 9), 24 * GIB, 58),
        Gpu("l40s", "NVIDIA L40S", (8, 9), 48 * GIB, 142),
        Gpu("rtx4090", "NVIDIA GeForce RTX 4090", (8, 9), 24 * GIB, 128),
        Gpu("rtx3090", "NVIDIA GeForce RTX 3090", (8, 6), 24 * GIB, 82),
        Gpu("t4", "Tesla T4", (7, 5), 16 * GIB, 40),
        Gpu("v100", "Tesla V100-SXM2-32GB", (7, 0), 32 * GIB, 80),
        Gpu("b200", "NVIDIA B200", (10, 0), 192 * GIB, 148),
    )
}


def find_gpu(key: str) -> Gpu:
    """The GPU that people call `key`: ``h100``, ``RTX-4090``; or any other by capability and memory: ``sm_86:48GiB``.

    Raises:
        MachineError: no such GPU is known.
    """
    if not isinstance(key, str):
        raise MachineError(f"unknown GPU {key!r}", hint='a name, such as gpu="h100"')
    if key.lower().startswith("sm"):
        return _by_capability(key)
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    if plain in GPUS:
        return GPUS[plain]
    raise MachineError(f"unknown GPU {key!r}", hint=f"{did_you_mean(plain, GPUS)}; any other: sm_86:48GiB")


def _by_capability(key: str) -> Gpu:
    found = re.fullmatch(r"sm_?([0-9]{1,2})([0-9])[a-z]?:(.+)", key.lower().strip())
    if found is None:
        raise MachineError(f"cannot read the GPU {key!r}", hint="sm_, the compute capability, the memory: sm_86:48GiB")
    try:
        memory = parse_bytes(found[3])
    except ValueError as error:
        raise MachineError(f"cannot read the memory of {key!r}: {error}", hint="sm_86:48GiB") from None
    capability = int(found[1]), int(found[2])
    return Gpu(f"sm_{found[1]}{found[2]}", f"GPU sm_{found[1]}{found[2]} {human(memory)}", capability, memory, None)


def gpu_by_device_name(name: str, capability: tuple[int, int], memory: int, sms: int) -> Gpu:
    """The GPU in this machine, by what the driver says of it; one that the table lacks is taken as it is."""
    for gpu in GPUS.values():
        if gpu.name == name:
            return gpu
    words = re.findall(r"[a-z]*\d+[a-z]*", name.lower())
    known = next((GPUS[w] for w in words if w in GPUS), None)
    if known is not None and known.capability == capability:
        return known
    return Gpu(re.sub(r"[^a-z0-9]", "", name.lower()), name, capability, memory, sms)
