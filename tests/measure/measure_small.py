"""Measure on the GPU at hand what the models of the tests really keep, and write it to a file.

    python tests/measure/measure_small.py h200.json.gz

Run with the torch release whose behaviour is wanted. Each entry has the sizes of the storages that autograd keeps after
forward with only the loss held, and `alive`: by how much torch.cuda.memory_stats()["requested_bytes.all.current"] rose.
"""

import gzip
import json
import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from graphmem.load import Wishes, load_target  # noqa: E402
from graphmem.usercode.isolate import isolated  # noqa: E402
from support import small_models, zoo  # noqa: E402
from support.oracle import real_saved  # noqa: E402
from support.repo import SAMPLES, measured  # noqa: E402

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Autocast(torch.nn.Module):
    """Forward under autocast, which ends with forward."""

    def __init__(self, module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        with torch.autocast("cuda", torch.bfloat16):
            return self.module(*args, **kwargs)


def on_gpu(value, dtype=None):
    if isinstance(value, torch.Tensor):
        value = (
            value.detach().to("cuda", dtype if value.is_floating_point() else None).requires_grad_(value.requires_grad)
        )
        return value
    if isinstance(value, dict):
        return {k: on_gpu(v, dtype) for k, v in value.items()}
    return type(value)(on_gpu(v, dtype) for v in value)


def measure(module, inputs, autocast=False):
    """Sizes kept and requested bytes, after a forward that warms up (library workspaces, caches)."""

    def forward(requested=None):
        return real_saved(Autocast(module) if autocast else module, inputs, between=requested)

    def requested():
        torch.cuda.synchronize()
        return torch.cuda.memory_stats()["requested_bytes.all.current"]

    forward()
    before = requested()
    rise = []
    sizes = forward(lambda: rise.append(requested() - before))
    return {"sizes": sorted(sizes.elements(), reverse=True), "alive": rise[0]}


def entries():
    torch.manual_seed(0)
    for row in zoo.rows(measured("h100_models.json.gz")):
        autocast = "autocast" in (row.get("variant") or "")
        if autocast:
            module = zoo.build(row).cuda()
            yield f"zoo {zoo.label(row)} under autocast", measure(module, zoo.inputs(row, "cuda"), autocast=True)
            yield f"zoo {zoo.label(row)} without autocast", measure(module, zoo.inputs(row, "cuda"))
    for name, (make, inputs) in small_models.MODELS.items():
        for text, dtype in DTYPES.items():
            module = make().to("cuda", dtype)
            try:
                yield f"small {name} {text}", measure(module, on_gpu(inputs(), dtype))
            except RuntimeError as error:  # what CUDA refuses, such as some mixtures of dtypes
                yield f"small {name} {text}", {"refused": str(error).split("\n")[0]}
    for sample, settings in SAMPLES:
        with isolated():
            subject = load_target(str(TESTS.parent / "samples" / sample), Wishes(settings=settings))
            module = subject.build(subject.symbols).to_empty(device="cuda")
            inputs = on_gpu(subject.make_inputs(subject.symbols, True))
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        yield f"sample {sample} {settings}", measure(module, inputs)


def main(file) -> None:
    result = {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "gpu": torch.cuda.get_device_name(0)}
    result["entries"] = {}
    for name, entry in entries():
        result["entries"][name] = entry
    with gzip.open(file, "wt") as out:
        json.dump(result, out)


if __name__ == "__main__":
    main(sys.argv[1])
