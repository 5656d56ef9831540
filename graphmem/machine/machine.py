"""`Machine`: the device, GPU and library versions that the trace pretends to run on."""

from __future__ import annotations

from dataclasses import dataclass

from graphmem.errors import MachineError
from graphmem.machine.gpus import Gpu, find_gpu, gpu_by_device_name

# cuDNN that the CUDA build of each torch release on PyPI requires: `nvidia-cudnn-cu12` or `-cu13` in its metadata.
BUNDLED_CUDNN: dict[tuple[int, ...], int] = {
    (2, 5): 90100, (2, 6): 90100, (2, 7): 90501, (2, 8): 91002, (2, 9): 91002, (2, 10): 91002,
    (2, 11): 91900, (2, 12): 92000, (2, 13): 92000, (2, 14): 92400,
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """What is pretended.

    device: "cuda" or "cpu".
    gpu: the GPU; with device "cpu" nothing asks for it.
    torch: release whose kernel choices apply, as (major, minor) or with the patch where that was given.
    cudnn: version as `torch.backends.cudnn.version()` writes it (91900 is 9.19), 0 for none.
    """

    device: str
    gpu: Gpu
    torch: tuple[int, ...]
    cudnn: int

    @property
    def release(self) -> str:
        return ".".join(map(str, self.torch))

    @property
    def not_followed(self) -> str | None:
        """What of the release does not follow `torch`, where another one is installed; None where that is the same."""
        installed = _installed_torch()
        if self.torch[:2] == installed[:2]:
            return None
        here = f"the installed torch {'.'.join(map(str, installed[:2]))}"
        if self.device == "cpu":
            return f"nothing here follows torch {self.release}: on the CPU all operators are those of {here}"
        return (
            f"the choice of attention kernels follows torch {self.release}; "
            f"the operators that run, and what they save, are those of {here}"
        )

    def describe(self) -> str:
        """For a headline: ``NVIDIA H100 80GB HBM3, torch 2.13, cuDNN 9.20``."""
        release = f"torch {self.release}"
        if self.device == "cpu":
            return f"the CPU, {release}"
        cudnn = f"cuDNN {self.cudnn // 10000}.{self.cudnn // 100 % 100}" if self.cudnn else "no cuDNN"
        return f"{self.gpu.name}, {release}, {cudnn}"


def resolve(
    *, gpu: str | None, device: str, torch_version: str | None = None, cudnn_version: str | None = None
) -> Machine:
    """Turn what the user named into a Machine.

    Args:
        gpu: a name of `graphmem.machine.gpus.GPUS`; None takes the GPU present, else an H100.
        device: "cuda" or "cpu".
        torch_version: such as "2.11"; default the installed one.
        cudnn_version: such as "9.19"; default the one of this torch's CUDA build.

    Raises:
        MachineError: an unknown GPU or device, or a version that cannot be read.
    """
    if device not in ("cuda", "cpu"):
        raise MachineError(f"unknown device {device!r}", hint="cuda or cpu")
    release = _release(torch_version) if torch_version else _installed_torch()
    if release < (2, 5):
        raise MachineError(f"torch {torch_version} is older than the rules known here", hint="2.5 or later")
    cudnn = _cudnn_number(cudnn_version) if cudnn_version else _cudnn_of(release)
    chosen = find_gpu(gpu) if gpu is not None else _present_gpu() or find_gpu("h100")
    return Machine(device, chosen, release, cudnn)


def _release(text: str) -> tuple[int, ...]:
    if not isinstance(text, str):  # as a number 2.10 is 2.1
        raise MachineError(f"cannot read the version {text!r}: it is not a text", hint='write it like "2.11"')
    try:
        major, minor, *patch = (int(part) for part in text.split("+")[0].split(".")[:3])
        return (major, minor, *patch)
    except ValueError:
        raise MachineError(f"cannot read the version {text!r}", hint="write it like 2.11") from None


def _cudnn_number(text: str) -> int:
    major, minor, *patch = _release(text)
    return major * 10000 + minor * 100 + (patch[0] if patch else 0)


def _installed_torch() -> tuple[int, ...]:
    import torch

    return _release(str(torch.__version__).split("+")[0].rpartition(".")[0])


def _cudnn_of(release: tuple[int, ...]) -> int:
    import torch

    if release == _installed_torch() and torch.version.cuda and torch.backends.cudnn.is_available():
        return int(torch.backends.cudnn.version() or 0)
    # A release that the table lacks is newer than it, or so old that its order of backends never reaches cuDNN.
    newest = max(BUNDLED_CUDNN)
    return BUNDLED_CUDNN.get(release[:2], BUNDLED_CUDNN[newest] if release[:2] > newest else 0)


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
