"""On the CPU the prediction can be checked to the byte without a GPU: the same module runs for real."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import graphmem
from support.oracle import real_saved
from support.repo import ROOT
from support.reports import predicted
from support.slow import one_of
from support.small_models import FAMILIES, MODELS

SAMPLES = ROOT / "samples"
# name -> (file, what its model() takes, sizes that its inputs() takes)
SAMPLE_SIZES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "megatron_layer": ("megatron_layer", {"h": 48, "a": 3, "v": 101}, {"b": 2, "s": 18, "v": 101}),
    "flash_block": ("flash_block", {"h": 48, "a": 3, "v": 101}, {"b": 2, "s": 18, "v": 101}),
    "gpt2": ("gpt2", {"h": 48, "a": 3, "L": 5, "v": 101}, {"b": 2, "s": 18, "v": 101}),
    "gpt2 sdpa": ("gpt2", {"h": 48, "a": 3, "L": 5, "v": 101, "attn": "sdpa"}, {"b": 2, "s": 18, "v": 101}),
    "llama": ("llama", {"h": 48, "a": 6, "k": 3, "f": 80, "L": 5, "v": 101}, {"b": 2, "s": 18, "v": 101}),
}  # fmt: skip


SMALL = ("megatron_layer", "flash_block")
DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("name", one_of(FAMILIES[::8], MODELS, str))
def test_small_model(name: str) -> None:
    """In float32; test_measured_small has them in bf16, as a GPU kept them."""
    torch.manual_seed(0)
    make_module, make_inputs = MODELS[name]
    check(make_module(), make_inputs())


@pytest.mark.parametrize("dtype", one_of([torch.bfloat16], DTYPES, lambda dtype: dtype), ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", one_of(SMALL, SAMPLE_SIZES, str))
def test_sample(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    file, model_sizes, input_sizes = SAMPLE_SIZES[name]
    sample = load(file)
    check(sample.model(**model_sizes).to(dtype), cast(sample.inputs(**input_sizes), dtype))


@pytest.mark.parametrize("name", one_of(SMALL[1:], SAMPLE_SIZES, str))
def test_sample_from_factories(name: str) -> None:
    """Built from its functions a model is traced with few layers, and the rest is foretold."""
    torch.manual_seed(0)
    file, model_sizes, input_sizes = SAMPLE_SIZES[name]
    sample = load(file)
    report = graphmem.analyze(sample.model, sample.inputs, device="cpu", symbols={**model_sizes, **input_sizes})
    assert predicted(report) == real_saved(sample.model(**model_sizes), sample.inputs(**input_sizes))


def check(module: nn.Module, inputs: Any) -> None:
    """The sizes of all saved storages are foretold, and foretelling leaves nothing behind."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    some_name, some = next(iter(parameters.items()))
    value, random_state = some.detach().clone(), torch.get_rng_state()

    report = graphmem.analyze(module, inputs, device="cpu")

    after = dict(module.named_parameters(remove_duplicate=False))
    assert after.keys() == parameters.keys()
    assert all(after[key] is parameter for key, parameter in parameters.items())
    assert torch.equal(after[some_name], value)
    assert torch.equal(torch.get_rng_state(), random_state)

    # A real run moves the statistics of batch norms, so it comes last.
    torch.manual_seed(1)
    assert predicted(report) == real_saved(module, inputs)


def cast(inputs: Any, dtype: torch.dtype) -> Any:
    """Floating inputs as leaves of `dtype`."""
    if isinstance(inputs, dict):
        return {key: cast(value, dtype) for key, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(cast(value, dtype) for value in inputs)
    return inputs.detach().to(dtype).requires_grad_(inputs.requires_grad) if inputs.is_floating_point() else inputs


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sample_{name}", SAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
