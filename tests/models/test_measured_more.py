"""Models that h100_models.json.gz does not have, and the rows of it that need explaining, as an H200 kept them.

tests/truth/h200_more.json.gz was written by tests/measure/measure_more.py with torch 2.11 and cuDNN 9.19.
"""

import dataclasses
import importlib.util

import pytest
import torch

from graphmem.accounts.saved import ALIVE, SAVED, sort_storages
from graphmem.trace import trace
from measure.measure_more import digest
from support import zoo
from support.h100 import ASSUMED
from support.repo import measured
from support.slow import one_of

# Their classes come from timm, also where only a part of the model does.
BY_TIMM = ("timm_wrapper", "gemma3n")
HAVE_TIMM = importlib.util.find_spec("timm") is not None
FAMILIES = (
    "mistral", "gpt_oss", "mamba2", "reformer", "qwen3_next", "deepseek_v3", "distilbert", "t5", "led",
    "perceiver", "vit", "resnet", "siglip",
)  # fmt: skip
ENTRIES = [
    entry
    for entry in measured("h200_more.json.gz")["entries"]
    if "error" not in entry and (HAVE_TIMM or entry["name"] not in BY_TIMM)
]


@pytest.mark.slow
@pytest.mark.parametrize("entry", one_of(FAMILIES, ENTRIES), ids=zoo.label)
def test_every_storage_is_the_measured_one(entry, h100) -> None:
    with torch.device("meta"):
        module = zoo.build(entry)
    record = trace(
        module,
        zoo.inputs(entry, "meta"),
        dataclasses.replace(h100, assumptions=ASSUMED.get(entry["name"], h100.assumptions)),
        reload=lambda: zoo.inputs(entry, "cpu"),
    )
    storages = sort_storages(record)
    sizes = [k.nbytes for k in storages if k.table == SAVED]
    assert (sum(sizes), len(sizes)) == (entry["saved"], entry["count"])
    assert digest(sizes) == entry["digest"]
    assert sum(k.nbytes for k in storages if k.table in ALIVE) == entry["alive"]
