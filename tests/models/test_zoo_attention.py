"""Every attention of every model in the zoo, against what reading the model's source says.

tests/truth/zoo_attention.json was written by reading the code of transformers 5.17 and timm 1.0, with file and line in
its notes, by people who did not see graphmem's answer.
"""

import collections
import dataclasses
import json
import re

import pytest
import torch

from graphmem.attention import find_attention
from graphmem.trace import trace
from support import zoo
from support.h100 import ASSUMED, FAMILIES
from support.repo import TRUTH, measured
from support.slow import one_of

EXPECTED = json.loads((TRUTH / "zoo_attention.json").read_text())
MODELS = {zoo.key(row): row for row in zoo.rows(measured("h100_models.json.gz")) if row.get("variant") is None}


def starred(path):
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", path)


def written(kernel) -> str:
    return "sdpa" if kernel.startswith("sdpa.") else "softmax"


@pytest.mark.parametrize("key", one_of(FAMILIES[::4], MODELS, lambda key: MODELS[key]["name"]))
def test_all_are_found_and_classified_right(key, h100) -> None:
    row = MODELS[key]
    with torch.device("meta"):
        module = zoo.build(row)
    how = dataclasses.replace(h100, assumptions=ASSUMED.get(row["name"], h100.assumptions))
    record = trace(module, zoo.inputs(row, "meta"), how, reload=lambda: zoo.inputs(row, "cpu"))
    found = collections.Counter((starred(s.module), written(s.kernel), s.kind) for s in find_attention(record))
    expected = collections.Counter()
    for a in EXPECTED[key]["attention"]:
        expected[a["module"], a["written"], a["kind"]] += a["count"]
    assert found == expected
