"""The registry of kernels: nothing is in it twice, and every file that registers something is imported."""

import re

import pytest
import torch
import torch.nn.functional as F

from graphmem import kernels
from graphmem.kernels.registry import corrects, kernels_on, outputs_on_cpu, replaces, result_of
from support.repo import ROOT

aten = torch.ops.aten
EFFICIENT = aten._scaled_dot_product_efficient_attention.default


@pytest.mark.parametrize(
    ("again", "message"),
    [
        (lambda: replaces(F.ctc_loss, on="cuda")(print), "ctc_loss is in replacements of cuda already"),
        (lambda: replaces(torch.lstm)(print), "lstm is in replacements of cuda already"),
        (lambda: result_of(aten._grouped_mm.default, on="cpu")(print), "_grouped_mm.default is in results of cpu"),
        (lambda: corrects(aten.native_batch_norm.default, on="cpu")(print), "batch_norm.default is in corrections"),
        (lambda: outputs_on_cpu(EFFICIENT, 1), "efficient_attention.default is in outputs_on_cpu of cuda already"),
    ],
)
def test_a_second_registration_is_an_error(again, message) -> None:
    with pytest.raises(RuntimeError, match=message):
        again()


def test_a_function_may_have_a_kernel_for_each_device() -> None:
    on_cuda, on_cpu = (kernels_on(device).replacements for device in ("cuda", "cpu"))
    assert on_cuda[F.scaled_dot_product_attention] is not on_cpu[F.scaled_dot_product_attention]
    assert on_cuda[F.ctc_loss] is on_cpu[F.ctc_loss]
    assert F.batch_norm not in on_cpu


def test_every_file_that_registers_something_is_imported_by_the_room() -> None:
    files = [f for f in (ROOT / "graphmem" / "kernels").rglob("*.py") if f.name != "registry.py"]
    registering = {f.stem for f in files if re.search(r"^\s*@?(replaces|result_of|corrects)\(", f.read_text(), re.M)}
    assert "recurrent" in registering
    assert registering <= set(kernels.__all__)


def test_the_map_of_the_room_names_what_is_there() -> None:
    for name in ("registry.py", "run_as_on.py", "sdpa", "flex.py"):
        assert name in str(kernels.__doc__)
        assert (ROOT / "graphmem" / "kernels" / name).exists()
