"""Where things are in this repository, and what was measured."""

import functools
import gzip
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRUTH = ROOT / "tests" / "truth"
PLAIN = ROOT / "tests" / "support" / "plain"  # files in the styles of other people

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


@functools.cache
def measured(name):
    """The content of a file in tests/truth, which nobody changes."""
    with gzip.open(TRUTH / name, "rt") as file:
        return json.load(file)
