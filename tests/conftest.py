"""What tests share: the measured rows, and skipping without a GPU."""

import gzip
import json
from pathlib import Path

import pytest
import torch

import graphmem.usercode.paths  # noqa: F401  (paths are shown from where it is first imported, and some tests run elsewhere)

HERE = Path(__file__).parent
ROOT = HERE.parent

# Samples at sizes that are measured on a GPU: (file, settings).
SAMPLES = [
    ("megatron_layer.py", {"b": 2, "s": 96, "h": 64, "a": 4}),
    ("megatron_layer.py", {"b": 3, "s": 129, "h": 96, "a": 3, "p": 0.2}),
    ("flash_block.py", {"b": 2, "s": 100, "h": 256, "a": 4}),
    ("gpt2.py", {"b": 2, "s": 96, "h": 64, "a": 4, "L": 3, "v": 1000}),
    ("gpt2.py", {"b": 2, "s": 96, "h": 64, "a": 4, "L": 3, "v": 1000, "attn": "sdpa"}),
    ("gpt2.py", {"b": 3, "s": 77, "h": 64, "a": 4, "L": 1, "v": 999, "p": 0.0}),
    ("llama.py", {"b": 2, "s": 96, "h": 128, "a": 8, "k": 2, "f": 352, "L": 3, "v": 1000}),
    ("llama.py", {"b": 1, "s": 131, "h": 256, "a": 4, "k": 4, "f": 512, "L": 4, "v": 777}),
]


def pytest_addoption(parser):
    parser.addoption("--overwrite", action="store_true", help="write current output into README and docs")


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no GPU here"))


def measured(name):
    """The content of a file in tests/truth."""
    with gzip.open(HERE / "truth" / name, "rt") as file:
        return json.load(file)


@pytest.fixture(scope="session")
def h100():
    """How tests/truth was measured."""
    from graphmem.how import read_how

    return read_how({"gpu": "h100", "torch_version": "2.11", "cudnn_version": "9.19"})
