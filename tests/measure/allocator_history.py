"""Write down every request that CUDA's caching allocator got while `graphmem validate` ran, from an empty allocator on.

    python tests/measure/allocator_history.py h200_allocator.json.gz

Each run is a process of its own. tests/validation/test_allocator_rule.py goes through the requests by the allocator's
own rule and compares segments, blocks and counters. An event is [kind, address, bytes]; a mark says how many events
came before a reading of the counters, and what it read. validate itself never records: it leaves the allocator's
settings alone.
"""

import gzip
import json
import multiprocessing
import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from measure.validate_sweeps import ROOT, machine, run, said  # noqa: E402

RUNS = (
    ("gpt2.py", "--set L=4", "s=512,1024 b=1,4"),
    ("gpt2.py", "--set L=4 --set attn=sdpa --dtype fp32 --autocast bf16", "s=512,1024 b=1,4"),
    ("llama.py", "--set L=2", "s=512,1024 b=1"),
    ("megatron_layer.py", "", "s=512,1024 b=1,4"),
)
KINDS = ("alloc", "free_completed", "segment_alloc", "segment_free")


def recorded(target, options, sweep):
    """In a fresh process: the run's entry, and the allocator's events with marks where it was read."""
    from graphmem.validation import allocator, step

    torch.cuda.init()
    torch.cuda.memory._record_memory_history("all", context=None, max_entries=1_000_000)
    marks = []

    def counters(device):
        found = allocator.counters(device)
        marks.append([len(_trace()), found.requested, found.allocated, found.unsplit])
        return found

    step.counters = counters
    entry = run(ROOT / "samples" / target, options, sweep, "cuda")
    events = [[KINDS.index(e["action"]), e["addr"], e["size"]] for e in _trace() if e["action"] in KINDS]
    skipped = sorted({e["action"] for e in _trace()} - set(KINDS))
    positions = [sum(e["action"] in KINDS for e in _trace()[: mark[0]]) for mark in marks]
    marks = [[position, *mark[1:]] for position, mark in zip(positions, marks, strict=True)]
    return {"target": target, **entry, "events": events, "marks": marks, "other_events": skipped}


def _trace():
    return torch.cuda.memory._snapshot()["device_traces"][torch.cuda.current_device()]


def work(job, results) -> None:
    try:
        results.put(recorded(*job))
    except Exception as error:  # the others are worth having
        results.put({"target": job[0], "options": job[1], "error": f"{type(error).__name__}: {error}"})


def main(file) -> None:
    context = multiprocessing.get_context("spawn")
    content = {"machine": machine("cuda"), "kinds": KINDS, "runs": []}
    for job in RUNS:
        results = context.Queue()
        process = context.Process(target=work, args=(job, results))
        process.start()
        entry = results.get(timeout=120)
        process.join()
        content["runs"].append(entry)
        with gzip.open(file, "wt") as out:
            json.dump(content, out)
        print(f"{entry['target']} {entry['options']}: {said(entry)}, {len(entry.get('events', []))} events", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
