"""Measure what the examples of lint's rules keep, before and after the fix, on the GPU at hand, and write it to a file.

    python tests/measure/measure_lint.py h200_lint.json [cpu]

Every bad example that has a fixed one is run, both of them, and Llama of transformers with the mistakes that the
literature reports, and without them. An entry has the sizes of the storages that autograd keeps after forward with only
the loss held (tests/support/oracle.py), and `alive`: by how much requested_bytes rose. With `cpu` nothing is measured
but that it runs.
"""

import importlib
import json
import sys
import traceback
from functools import partial
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from graphmem.linter.rule import all_rules  # noqa: E402
from measure.measure_small import Autocast, measure, on_gpu  # noqa: E402
from support.lint_models import LLAMAS, llama, llama_inputs  # noqa: E402
from support.oracle import real_saved  # noqa: E402


def examples():
    """(name, how to make the module, inputs, autocast) of every example that a promise hangs on."""
    for rule in all_rules():
        module = importlib.import_module(rule.module)
        for which in ("BAD", "FIXED"):
            for name in module.FIXED:
                example = getattr(module, which)[name]
                yield f"{rule.code} {which} {name}", partial(made, example), example.inputs(), example.options
    for name in LLAMAS:
        yield f"llama {name}", partial(llama, name), llama_inputs(), {}


def made(example):
    return example.module().to(example.dtype) if example.dtype else example.module()


def filled(value):
    """Zeros in place of tensors on meta, as no loss is the worse for them."""
    if isinstance(value, dict):
        return {k: filled(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(filled(v) for v in value)
    return torch.zeros(value.shape, dtype=value.dtype, requires_grad=value.requires_grad) if value.is_meta else value


def measured_here(module, inputs, autocast):
    return measure(module.cuda(), on_gpu(inputs), autocast)


def run_here(module, inputs, autocast):
    sizes = real_saved(Autocast(module) if autocast else module, inputs)
    return {"sizes": sorted(sizes.elements(), reverse=True), "alive": 0}


def main(file, device="cuda") -> None:
    cuda = device == "cuda"
    result = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name() if cuda else device, "entries": {}}
    if cuda:
        result["cudnn"] = torch.backends.cudnn.version()
    torch.manual_seed(0)
    for name, make, inputs, options in examples():
        try:
            entry = (measured_here if cuda else run_here)(make(), filled(inputs), "autocast" in options)
        except Exception as error:  # one that does not run must not cost the others
            traceback.print_exc()
            entry = {"error": str(error).split("\n")[0]}
        result["entries"][name] = entry
    Path(file).write_text(json.dumps(result, indent=1) + "\n")
    entries = result["entries"].values()
    print(result["gpu"], len(entries), "entries,", sum("error" in e for e in entries), "errors")


if __name__ == "__main__":
    main(*sys.argv[1:])
