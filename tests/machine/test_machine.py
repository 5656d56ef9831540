"""The machine that is pretended, and that it is pretended only during the trace."""

import pytest
import torch
from torch import nn

import graphmem
from graphmem.errors import MachineError
from graphmem.machine import resolve
from graphmem.machine.gpus import GPUS, find_gpu, gpu_by_device_name
from graphmem.machine.pretend import answering_as, device_meant
from support import small_models
from support.slow import first_of


@pytest.mark.parametrize("spelled", ["h100", "H100", "rtx4090", "RTX-4090", "rtx 4090"])
def test_names_as_people_spell_them(spelled) -> None:
    assert find_gpu(spelled).key in ("h100", "rtx4090")


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(MachineError) as error:
        find_gpu("h10")
    assert "did you mean h100?" in str(error.value)
    assert all(key in str(error.value) for key in GPUS)


def test_what_a_driver_calls_a_gpu() -> None:
    assert gpu_by_device_name("NVIDIA H100 80GB HBM3", (9, 0), 1, 1).key == "h100"
    assert gpu_by_device_name("NVIDIA H100 PCIe", (9, 0), 1, 1).key == "h100"
    unknown = gpu_by_device_name("NVIDIA Thor", (11, 0), 5, 7)
    assert (unknown.capability, unknown.memory, unknown.sms) == ((11, 0), 5, 7)


def test_versions() -> None:
    target = resolve(gpu="h100", device="cuda", torch_version="2.11", cudnn_version="9.19")
    assert (target.torch, target.cudnn) == ((2, 11), 91900)
    assert resolve(gpu="h100", device="cuda", torch_version="2.11.0+cu130").cudnn == 91900
    with pytest.raises(MachineError, match="cannot read the version"):
        resolve(gpu="h100", device="cuda", torch_version="new")


class Asks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f, self.answers = nn.Linear(4, 4), None

    def forward(self, x):
        assert x.is_cuda
        assert torch.cuda.is_available()
        assert torch.cuda.get_device_capability() == (8, 9)
        assert torch.cuda.get_device_properties(0).total_memory == 24 * 2**30
        assert torch.cuda.get_device_name() == "NVIDIA L4"
        with torch.autocast("cuda", torch.bfloat16):
            y = self.f(x)
        assert y.dtype == torch.bfloat16
        return y


def test_the_model_hears_the_target_and_nobody_afterwards() -> None:
    before = torch.cuda.is_available()
    graphmem.analyze(Asks(), (torch.randn(2, 4),), gpu="l4")
    assert torch.cuda.is_available() == before
    assert torch.cuda.is_available.__module__.startswith("torch")


def heard() -> tuple[bool, tuple[int, int] | None]:
    """Whether there is a GPU, to a model that runs; and which."""
    there = torch.cuda.is_available()
    return there, torch.cuda.get_device_capability() if there else None


@pytest.mark.parametrize("building", [False, True])
def test_an_analysis_within_another_hears_its_own_machine(building: bool) -> None:
    """A model may analyse another one, when it is built or when it runs."""
    truth = torch.cuda.is_available()
    with answering_as(resolve(gpu="h100", device="cuda"), building=building):
        before = heard()
        with answering_as(resolve(gpu="a100", device="cuda")):
            assert heard() == (True, (8, 0))
            with answering_as(resolve(gpu="l4", device="cuda"), building=True):
                assert torch.cuda.is_available() is truth
                assert torch.cuda.get_device_capability() == (8, 9)
            with answering_as(resolve(gpu="h100", device="cpu")):
                assert torch.cuda.is_available() is truth
                assert device_meant() == "cpu"
            assert heard() == (True, (8, 0))
        assert heard() == before
        assert building or before == (True, (9, 0))
        assert device_meant() == "cuda"
    assert torch.cuda.is_available() is truth


def test_any_other_gpu_by_capability_and_memory() -> None:
    gpu = find_gpu("sm_86:48GiB")
    assert (gpu.capability, gpu.memory) == ((8, 6), 48 * 2**30)
    assert find_gpu("SM120:32G").capability == (12, 0)
    for wrong in ("sm_86", "sm_8:1GiB", "sm_86:lots"):
        with pytest.raises(MachineError, match=r"cannot read"):
            find_gpu(wrong)
    make, inputs = small_models.MODELS["sdpa causal"]
    report = graphmem.analyze(make(), inputs(), gpu="sm_61:8GiB")
    assert [a.kernel for a in report.attention] == ["sdpa.efficient"]
    assert "GPU sm_61 8.00 GiB" in report.machine


@pytest.mark.parametrize(
    ("device", "says"),
    [("cuda", "the choice of attention kernels follows torch 2.9"), ("cpu", "nothing here follows torch 2.9")],
)
def test_the_report_says_what_follows_another_release_and_what_does_not(device: str, says: str) -> None:
    make, inputs = small_models.MODELS["sdpa causal"]
    (note,) = (n for n in graphmem.analyze(make(), inputs(), device=device, torch_version="2.9").notes if "2.9" in n)
    installed = ".".join(torch.__version__.split(".")[:2])
    assert note.startswith(says)
    assert note.endswith(f"those of the installed torch {installed}")


@pytest.mark.parametrize("patch", first_of(["", ".0"]))
def test_the_installed_release_needs_no_such_note(patch: str) -> None:
    make, inputs = small_models.MODELS["sdpa causal"]
    installed = ".".join(torch.__version__.split(".")[:2]) + patch
    notes = graphmem.analyze(make(), inputs(), torch_version=installed).notes
    assert not any("installed torch" in note for note in notes)
