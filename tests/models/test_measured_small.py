"""Small models, samples and autocast against what a GPU kept, storage by storage; and against the GPU at hand, if any.

tests/truth/h200_measured.json.gz was written by tests/measure/measure_small.py on an H200 with torch 2.11 and cuDNN
9.19.
"""

import collections
import dataclasses

import pytest
import torch

from graphmem.accounts.saved import ALIVE, SAVED, sort_storages
from graphmem.how import read_how
from graphmem.load import Wishes, load_target
from graphmem.trace import trace
from graphmem.usercode.isolate import isolated
from support import small_models, zoo
from support.repo import ROOT, SAMPLES, measured
from support.slow import one_of

ENTRIES = measured("h200_measured.json.gz")["entries"]
ROWS = {zoo.label(row): row for row in zoo.rows(measured("h100_models.json.gz"))}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def compare(record, entry) -> None:
    storages = sort_storages(record)
    assert collections.Counter(k.nbytes for k in storages if k.table == SAVED) == collections.Counter(entry["sizes"])
    assert sum(k.nbytes for k in storages if k.table in ALIVE) == entry["alive"]


def entries(kind):
    return [name.removeprefix(f"{kind} ") for name, e in ENTRIES.items() if name.startswith(kind) and "sizes" in e]


def family(name):
    """In bf16 the kernels are those of training; in fp32 test_cpu_oracle runs the same models for real."""
    model, dtype = name.rsplit(" ", 1)
    return model if dtype == "bfloat16" else None


@pytest.mark.parametrize("name", one_of(small_models.FAMILIES, entries("small"), family))
def test_small_model(name, h100) -> None:
    model, dtype = name.rsplit(" ", 1)
    make, inputs = small_models.MODELS[model]
    compare(trace(make(), inputs(), dataclasses.replace(h100, dtype=DTYPES[dtype])), ENTRIES[f"small {name}"])


@pytest.mark.parametrize("name", one_of(None, entries("zoo"), lambda name: name.split(" ", 1)[1]))
def test_autocast(name, h100) -> None:
    label, how, _ = name.rsplit(" ", 2)
    row = ROWS[label]
    with torch.device("meta"):
        module = zoo.build(row)
    autocast = torch.bfloat16 if how == "under" else None
    compare(
        trace(module, zoo.inputs(row, "meta"), dataclasses.replace(h100, autocast=autocast)), ENTRIES[f"zoo {name}"]
    )


@pytest.mark.parametrize(("sample", "settings"), one_of(None, SAMPLES, lambda case: case[0]), ids=lambda x: str(x))
def test_sample(sample, settings, h100) -> None:
    with isolated():
        subject = load_target(str(ROOT / "samples" / sample), Wishes(settings=settings))
        module, inputs = subject.build(subject.symbols), subject.make_inputs(subject.symbols, False)
        compare(trace(module, inputs, h100), ENTRIES[f"sample {sample} {settings}"])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_models_on_the_gpu_at_hand(dtype) -> None:
    from measure.measure_small import measure, on_gpu

    here, wrong = read_how({}), []
    for name, (make, inputs) in small_models.MODELS.items():
        module, arguments = make().to("cuda", DTYPES[dtype]), on_gpu(inputs(), DTYPES[dtype])
        try:
            entry = measure(module, arguments)
        except RuntimeError:  # what CUDA refuses, such as some mixtures of dtypes
            continue
        try:
            compare(trace(module, arguments, here), entry)
        except AssertionError as error:
            wrong.append((name, str(error)))
    assert not wrong
