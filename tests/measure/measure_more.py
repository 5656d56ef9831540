"""Measure models of transformers that h100_models.json.gz does not have, on the GPU at hand, and write them to a file.

    python tests/measure/measure_more.py h200_more.json.gz

Each model type for which a task's class can be built small is run in bf16, those with experts in fp32 too, and once
more the rows of h100_models.json.gz that docs/accuracy.md explains. An entry has what autograd keeps with only the loss
held (tests/support/oracle.py: after a garbage collection) and by how much requested_bytes rose, or the error.
"""

import collections
import gzip
import hashlib
import json
import signal
import sys
import warnings
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support import zoo  # noqa: E402
from support.oracle import real_saved  # noqa: E402
from support.repo import measured  # noqa: E402

AGAIN = ("big_bird", "pegasus_x", "siglip", "ibert")
SECONDS = 20


def digest(sizes):
    """Of the sizes, largest first: lists of hundreds of numbers need not be kept."""
    return hashlib.md5(json.dumps(sorted(sizes, reverse=True)).encode()).hexdigest()


def tasks():
    from transformers.models.auto import modeling_auto as auto

    return {
        "AutoModelForCausalLM": auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "AutoModelForMaskedLM": auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        "AutoModelForSeq2SeqLM": auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        "AutoModelForImageClassification": auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    }


def rows():
    known = {zoo.key(row) for row in measured("h100_models.json.gz")["res"]}
    found = [row for row in zoo.rows(measured("h100_models.json.gz")) if row["name"] in AGAIN]
    for cls, names in tasks().items():
        for name in names:
            if f"{name}|{cls}|small" not in known and f"{name}|{cls}|bare" not in known:
                found.append({"name": name, "cls": cls, "mode": "small", "b": 2, "s": 128})
    return found


def measure(row):
    torch.manual_seed(0)
    with torch.device("cuda"):
        module, inputs = zoo.build(row), zoo.inputs(row, "cuda")

    def requested():
        torch.cuda.synchronize()
        return torch.cuda.memory_stats()["requested_bytes.all.current"]

    real_saved(module, inputs)
    after = []
    before = requested()
    sizes = list(real_saved(module, inputs, between=lambda: after.append(requested())).elements())
    return {"saved": sum(sizes), "count": len(sizes), "digest": digest(sizes), "alive": after[0] - before}


def expired(*_):
    raise TimeoutError(f"took more than {SECONDS} s")


def main(file):
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, expired)
    entries = []
    for row in rows():
        for variant in ("", "fp32"):
            entry = {k: row[k] for k in ("name", "cls", "mode", "b", "s") if k in row}
            entry |= {"variant": variant} if variant else {}
            signal.alarm(SECONDS)
            try:
                entry |= measure(entry)
            except Exception as error:  # a config that does not fit so small a model, mostly
                entry["error"] = f"{type(error).__name__}: {str(error)[:200]}"
            finally:
                signal.alarm(0)
            entries.append(entry)
            if "error" in entry or row["name"] in AGAIN or not any(x in row["name"] for x in ("moe", "mixtral", "oss")):
                break
        torch.cuda.empty_cache()
    device = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    with gzip.open(file, "wt") as target:
        json.dump({**device, "entries": entries}, target)
    print(len(entries), collections.Counter(e.get("error", "ok").split(":")[0] for e in entries))


if __name__ == "__main__":
    main(sys.argv[1])
