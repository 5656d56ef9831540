"""Measure on the GPU at hand which kernel each attention call runs and what it keeps, and write it to a file.

    python tests/measure/measure_attention.py h200_attention.json.gz [calls]

With `calls` only that table is measured, and the other taken from the file in tests/truth.

Two tables: `calls` are those of tests/support/attention_calls.py; `without` are those of h100_sdpa.json.gz once more,
with backends switched off. Each entry has the backend that torch chose (or the error), and every storage that autograd
keeps, inputs included, as (bytes, device).
"""

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support import attention_calls  # noqa: E402
from support.attention_calls import CALLS, leaves  # noqa: E402
from support.repo import measured  # noqa: E402

BACKENDS = {-1: "none", 0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}
SWITCHES = {
    "cudnn": torch.backends.cuda.enable_cudnn_sdp,
    "flash": torch.backends.cuda.enable_flash_sdp,
    "efficient": torch.backends.cuda.enable_mem_efficient_sdp,
    "math": torch.backends.cuda.enable_math_sdp,
}
WITHOUT = ("cudnn", "cudnn flash", "cudnn efficient", "cudnn flash efficient", "math", "flash efficient math")


def kept(function):
    """What autograd keeps of one call: storages as [bytes, device], sorted; and the backends that were asked for."""
    chosen = []
    original = torch._C._nn.scaled_dot_product_attention

    def asks(*args, **kwargs):
        mask = kwargs.pop("attn_mask", None)
        q, k, v, *rest = args
        chosen.append(torch._fused_sdp_choice(q, k, v, rest[0] if rest else mask, **kwargs))
        return original(q, k, v, *(rest or [mask]), **kwargs)

    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage._cdata] = (storage.nbytes(), tensor.device.type, storage)
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = function(asks)
    except RuntimeError as error:
        return {"error": str(error).splitlines()[0], "choice": [BACKENDS[c] for c in chosen]}
    names = []
    node = out.grad_fn
    while node is not None and len(names) < 8:
        names.append(node.name())
        node = next((n for n, _ in node.next_functions if n is not None), None)
    sizes = sorted([nbytes, device] for nbytes, device, _ in storages.values() if nbytes)
    return {"choice": [BACKENDS[c] for c in chosen], "saved": sizes, "stride": list(out.stride()), "nodes": names}


def calls():
    """All calls, in a process that is started again after one that CUDA does not survive."""
    names, found = list(CALLS), {}
    while len(found) < len(names):
        command = [sys.executable, __file__, "--from", str(len(found))]
        for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
            if line.startswith("{"):
                found.update(json.loads(line))
        if len(found) < len(names):
            found[names[len(found)]] = {"error": "CUDA does not survive this call", "choice": []}
    return found


def calls_from(start) -> None:
    for name in list(CALLS)[start:]:
        specs, module = CALLS[name]
        tensors = leaves(specs, "cuda")

        def run(asks, module=module, tensors=tensors):
            attention_calls.sdpa = asks
            return module(*tensors)

        entry = kept(run)
        torch.cuda.synchronize()
        print(json.dumps({name: entry}), flush=True)


def arguments(row):
    dtype = getattr(torch, row["dtype"])

    def tensor(*shape, grad=row["rg"], dtype=dtype):
        return torch.zeros(*shape, dtype=dtype, device="cuda", requires_grad=grad)

    sq, sk, kv = row["sq"], row["sk"], 2 if row["gqa"] else 8
    qkv = [tensor(2, 8, sq, row["hd"]), tensor(2, kv, sk, row["hd"]), tensor(2, kv, sk, row["hd"])]
    masks = {
        "none": lambda: [],
        "bool": lambda: [torch.ones(2, 1, sq, sk, dtype=torch.bool, device="cuda")],
        "bool_grad_free_1h": lambda: [torch.ones(sq, sk, dtype=torch.bool, device="cuda")],
        "float": lambda: [tensor(2, 1, sq, sk, grad=False)],
        "float_grad": lambda: [tensor(2, 1, sq, sk, grad=True)],
    }
    return (*qkv, *masks[row["mask"]]())


def choice_of(row, tensors):
    """The backend that torch chooses for a row of h100_sdpa.json.gz; "none" where it finds none."""
    q, k, v, *mask = tensors
    try:
        number = torch._fused_sdp_choice(
            q, k, v, *mask, dropout_p=row["p"], is_causal=row["causal"], enable_gqa=row["gqa"]
        )
    except RuntimeError:
        return "none"
    return BACKENDS[number]


def without(rows):
    """For every row and every set of backends that is switched off: [choice, storages as text]."""
    found = {}
    for names in WITHOUT:
        for name in names.split():
            SWITCHES[name](False)
        answers = []
        for row in rows:
            options = {"dropout_p": row["p"], "is_causal": row["causal"], "enable_gqa": row["gqa"]}
            tensors = arguments(row)
            entry = kept(lambda asks, t=tensors, o=options: asks(*t, **o))
            answers.append([entry["choice"][0] if entry["choice"] else "none", entry.get("saved")])
        found[names] = answers
        for name in names.split():
            SWITCHES[name](True)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "--from":
        calls_from(int(sys.argv[2]))
        sys.exit()
    rows = measured("h100_sdpa.json.gz")["rows"]
    result = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "calls": calls(),
        "without": measured("h200_attention.json.gz")["without"] if "calls" in sys.argv else without(rows),
    }
    with gzip.open(sys.argv[1], "wt") as file:
        json.dump(result, file)
    print(result["device"], len(result["calls"]), Counter(e.get("error", "ok")[:60] for e in result["calls"].values()))
