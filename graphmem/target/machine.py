"""`Target`: the device, GPU and library versions that the trace pretends to run on."""

from __future__ import annotations

from dataclasses import dataclass

from graphmem.errors import TargetDeviceError
from graphmem.target.gpus import Gpu, find_gpu, gpu_by_device_name

# cuDNN that the CUDA build of each torch release requires: `Requires-Dist: nvidia-cudnn-cu13==...` in its metadata.
BUNDLED_CUDNN = {(2, 11): 91900, (2, 12): 92000, (2, 13): 92000}


@dataclass(frozen=True)
class Target:
    """What is pretended.

    device: "cuda" or "cpu".
    gpu: the GPU; with device "cpu" nothing asks for it.
    torch: release whose kernel choices apply, as (major, minor).
    cudnn: version as `torch.backends.cudnn.version()` writes it (91900 is 9.19), 0 for none.
    """

    device: str
    gpu: Gpu
    torch: tuple[int, int]
    cudnn: int

    def describe(self) -> str:
        """For a headline: ``NVIDIA H100 80GB HBM3, torch 2.13, cuDNN 9.20``."""
        release = f"torch {self.torch[0]}.{self.torch[1]}"
        if self.device == "cpu":
            return f"the CPU, {release}"
        cudnn = f"cuDNN {self.cudnn // 10000}.{self.cudnn // 100 % 100}" if self.cudnn else "no cuDNN"
        return f"{self.gpu.name}, {release}, {cudnn}"


def resolve(
    *, gpu: str | None, device: str, torch_version: str | None = None, cudnn_version: str | None = None
) -> Target:
    """Turn what the user named into a Target.

    Args:
        gpu: a name of `graphmem.target.gpus.GPUS`; None takes the GPU present, else an H100.
        device: "cuda" or "cpu".
        torch_version: such as "2.11"; default the installed one.
        cudnn_version: such as "9.19"; default the one of this torch's CUDA build.

    Raises:
        TargetDeviceError: an unknown GPU or device, or a version that cannot be read.
    """
    if device not in ("cuda", "cpu"):
        raise TargetDeviceError(f"unknown device {device!r}", hint="cuda or cpu")
    release = _release(torch_version) if torch_version else _installed_torch()
    cudnn = _cudnn_number(cudnn_version) if cudnn_version else _cudnn_of(release)
    chosen = find_gpu(gpu) if gpu is not None else _present_gpu() or find_gpu("h100")
    return Target(device, chosen, release, cudnn)


def _release(text: str) -> tuple[int, int]:
    try:
        major, minor = text.split("+")[0].split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        raise TargetDeviceError(f"cannot read the version {text!r}", hint="write it like 2.11") from None


def _cudnn_number(text: str) -> int:
    major, minor = _release(text)
    return major * 10000 + minor * 100


def _installed_torch() -> tuple[int, int]:
    import torch

    return _release(str(torch.__version__))


def _cudnn_of(release: tuple[int, int]) -> int:
    import torch

    if release == _installed_torch() and torch.version.cuda and torch.backends.cudnn.is_available():
        return int(torch.backends.cudnn.version() or 0)
    # A release that the table lacks is newer than it: those carry at least the newest cuDNN known here.
    return BUNDLED_CUDNN.get(release, max(BUNDLED_CUDNN.values()) if release > (2, 11) else 0)


def _present_gpu() -> Gpu | None:
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return gpu_by_device_name(
        properties.name,
        (properties.major, properties.minor),
        properties.total_memory,
        properties.multi_processor_count,
    )
